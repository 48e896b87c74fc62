"""What is compared, as data: the tables, what they hold before, and the ways to load a day into them.

A new case is one entry of `CASES`, its target one line in `targets.py`, and the days it is timed on one in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg2 import sql

TARGET = ("silver", "telemetry")
PLAIN = ("silver", "plain")


@dataclass(frozen=True)
class Way:
    """One way to load the day.

    Attributes:
        name: stable key, unique in its case.
        title: for a person.
        program: what loads the day: this function; psql; psql, which builds the indexes of `silver.plain` at the end;
            the user's old recipe; timescaledb-parallel-copy.
        request: what the request says besides the archive and the server.
        script: commands for psql, one transaction; its standard input is the CSV.
        workers: connections of timescaledb-parallel-copy.
    """

    name: str
    title: str
    program: Literal["function", "psql", "floor", "recipe", "parallel-copy"]
    request: Mapping[str, Any] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    workers: int = 0


@dataclass(frozen=True)
class Case:
    """One table in one state, and the ways that are timed on it in turns.

    Attributes:
        name: stable key.
        title: for a person.
        indexes: SQL that gives a table (`{table}`) its indexes.
        ways: the first one is what the others are compared with.
        state: what the target holds before.
        is_compressed: the hypertable has a columnstore, what it holds before is compressed, and the day must end
            compressed. Community edition only.
    """

    name: str
    title: str
    indexes: tuple[sql.SQL, ...]
    ways: tuple[Way, ...]
    state: Literal["empty", "other rows", "the day"] = "empty"
    is_compressed: bool = False


def _function(name: str, title: str, *requests: Mapping[str, Any]) -> Way:
    request = {field: value for part in requests for field, value in part.items()}
    return Way(name, f"this project, {title}", "function", request)


def _psql(title: str, *script: str) -> Way:
    return Way("psql", title, "psql", script=script)


def _parallel(workers: int) -> Way:
    title = f"timescaledb-parallel-copy, {workers} worker{'s' if workers > 1 else ''} (not atomic)"
    return Way(f"parallel-{workers}", title, "parallel-copy", workers=workers)


def _copy(**fields: str) -> dict[str, Any]:
    return {"copy": fields}


def _timescaledb(**fields: bool | str) -> dict[str, Any]:
    return {"timescaledb": fields}


_TIME = sql.SQL("CREATE INDEX ON {table} (time DESC)")
_KEY = (sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY (device_id, time)"), _TIME)
_UNIQUE = (sql.SQL("CREATE UNIQUE INDEX ON {table} (device_id, time)"), _TIME)
_FIVE = (
    *_KEY,
    sql.SQL("CREATE INDEX ON {table} (status, time DESC)"),
    sql.SQL("CREATE INDEX ON {table} (temperature)"),
    sql.SQL("CREATE INDEX ON {table} (message, time DESC)"),
)

_COPY = r"\copy silver.telemetry FROM pstdin WITH (FORMAT csv, HEADER)"
_COMPRESS = "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('silver.telemetry') c"
# The fastest way to remove a day, and still in one transaction with the COPY.
_DROP = "SELECT drop_chunks('silver.telemetry', older_than => 'infinity'::timestamptz)"
_STAGING = (
    "CREATE UNLOGGED TABLE silver.staging (LIKE silver.telemetry)",
    r"\copy silver.staging FROM pstdin WITH (FORMAT csv, HEADER)",
    "INSERT INTO silver.telemetry SELECT * FROM silver.staging ON CONFLICT DO NOTHING",
    "DROP TABLE silver.staging",
)
_TO_PLAIN = (r"\copy silver.plain FROM pstdin WITH (FORMAT csv, HEADER)",)

_BY_PSQL = r"zcat | psql \copy"
_PSQL = _psql(_BY_PSQL, _COPY)
_FLOOR = Way("floor", "floor: COPY into a plain table, then its indexes", "floor", script=_TO_PLAIN)
_RECIPE = Way("recipe", "the old recipe: two temporary files, staging INCLUDING ALL", "recipe")
_PSQL_STAGING = Way("psql-staging", "unlogged staging + INSERT by psql", "psql", {}, _STAGING)

_STREAM_TEXT, _STREAM_BINARY = _copy(transfer="stream", format="text"), _copy(transfer="stream", format="binary")
_STAGED = {"destination": {"mode": "staging"}}
_REPLACED = {"destination": {"on_existing": "replace"}}
_APPENDED = {"destination": {"on_existing": "append"}}
_COMPRESSED = _timescaledb(compress_new_chunks=True)


def _as_it_comes_text_and_binary(title: str, *requests: Mapping[str, Any]) -> tuple[Way, ...]:
    streamed = f"{title}, stream".removeprefix("as it comes, ")
    return (
        _function("default", title, *requests),
        _function("stream", f"{streamed}, text", *requests, _STREAM_TEXT),
        _function("binary", f"{streamed}, binary", *requests, _STREAM_BINARY),
    )


_ESSENTIAL = (_PSQL, _FLOOR, *_as_it_comes_text_and_binary("as it comes"))

CASES = (
    Case(
        "key",
        "a fresh day, primary key + time index",
        _KEY,
        (
            *_ESSENTIAL,
            _function("spool", "spool, text", _copy(transfer="spool", format="text")),
            _function("spool-binary", "spool, binary", _copy(transfer="spool", format="binary")),
            _function("keep", "text, indexes kept", _copy(indexes="keep", format="text")),
            _function("staging", "staging", _STAGED),
            _function("staging-text", "staging, text", _STAGED, _copy(format="text")),
            *(_PSQL_STAGING, _RECIPE, _parallel(1), _parallel(2), _parallel(4)),
        ),
    ),
    Case("unique", "a fresh day, unique index + time index (no constraint)", _UNIQUE, _ESSENTIAL),
    Case("five", "a fresh day, five indexes", _FIVE, (*_ESSENTIAL, _parallel(2))),
    Case("none", "a fresh day, no index", (), _ESSENTIAL),
    Case(
        "holds",
        "a chunk that already holds rows, primary key + time index",
        _KEY,
        (_PSQL, *_as_it_comes_text_and_binary("append", _APPENDED)),
        "other rows",
    ),
    Case(
        "replace",
        "a day that is replaced, primary key + time index",
        _KEY,
        (_psql(f"drop_chunks, {_BY_PSQL}", _DROP, _COPY), *_as_it_comes_text_and_binary("replace", _REPLACED)),
        "the day",
    ),
    Case(
        "compressed",
        "a fresh day that ends compressed, primary key + time index",
        _KEY,
        (
            _psql(f"{_BY_PSQL} + compress_chunk", _COPY, _COMPRESS),
            _function("default", "as it comes", _COMPRESSED),
            _function("text", "text", _COMPRESSED, _copy(format="text")),
            _function("binary", "binary", _COMPRESSED, _copy(format="binary")),
        ),
        is_compressed=True,
    ),
    Case(
        "beside",
        "a chunk that holds compressed rows, and ends compressed",
        _KEY,
        (
            _psql(f"{_BY_PSQL} + compress_chunk", _COPY, _COMPRESS),
            _function("default", "append, as it comes", _APPENDED),
            _function("decompress", "append, decompressed first", _APPENDED, _timescaledb(decompress_window=True)),
            _function("auto", "append, decompress_window auto", _APPENDED, _timescaledb(decompress_window="auto")),
            _function("beside", "append, not decompressed", _APPENDED, _timescaledb(decompress_window=False)),
        ),
        "other rows",
        is_compressed=True,
    ),
    Case(
        "compressed-replace",
        "a compressed day that is replaced, and ends compressed",
        _KEY,
        (
            _psql(f"drop_chunks, {_BY_PSQL} + compress_chunk", _DROP, _COPY, _COMPRESS),
            _function("default", "replace", _REPLACED),
        ),
        "the day",
        is_compressed=True,
    ),
)
