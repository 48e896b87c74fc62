"""What is compared, as data: the tables, what they hold before, and the ways to load a day into them.

A new case is one entry of `CASES`, its target one line in `targets.py`, and the days it is timed on one in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from psycopg2 import sql

# What the target holds before the day is loaded.
State = Literal["empty", "other rows", "the day"]
# What loads the day: the function, psql, the user's old recipe, timescaledb-parallel-copy.
Program = Literal["function", "psql", "recipe", "parallel-copy"]

TARGET = ("silver", "telemetry")
PLAIN = ("silver", "plain")

_COPY = r"\copy silver.telemetry FROM pstdin WITH (FORMAT csv, HEADER)"
_COMPRESS = "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('silver.telemetry') c"
# The fastest way to remove a day, and still in one transaction with the COPY.
_DROP = "SELECT drop_chunks('silver.telemetry', older_than => 'infinity'::timestamptz)"


@dataclass(frozen=True)
class Way:
    """One way to load the day.

    Attributes:
        name: stable key, unique in its case.
        title: for a person.
        program: what loads the day.
        request: what the request says besides the archive and the server.
        script: commands for psql, one transaction; its standard input is the CSV.
        builds_indexes: whether the script ends by building the table's indexes on `silver.plain`.
        workers: connections of timescaledb-parallel-copy.
        most_rows: larger days are not run this way; it would take too long.
    """

    name: str
    title: str
    program: Program
    request: Mapping[str, Any] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    builds_indexes: bool = False
    workers: int = 0
    most_rows: int = 10_000_000


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
        most_rows: larger days are not run.
    """

    name: str
    title: str
    indexes: tuple[sql.SQL, ...]
    ways: tuple[Way, ...]
    state: State = "empty"
    is_compressed: bool = False
    most_rows: int = 3_000_000


def _function(name: str, title: str, *requests: Mapping[str, Any], most_rows: int = 10_000_000) -> Way:
    request = {field: value for part in requests for field, value in part.items()}
    return Way(name, f"this project, {title}", "function", request, most_rows=most_rows)


def _parallel(workers: int) -> Way:
    title = f"timescaledb-parallel-copy, {workers} worker{'s' if workers > 1 else ''} (not atomic)"
    return Way(f"parallel-{workers}", title, "parallel-copy", workers=workers, most_rows=3_000_000)


_TIME = sql.SQL("CREATE INDEX ON {table} (time DESC)")
_KEY = (sql.SQL("ALTER TABLE {table} ADD PRIMARY KEY (device_id, time)"), _TIME)
_UNIQUE = (sql.SQL("CREATE UNIQUE INDEX ON {table} (device_id, time)"), _TIME)
_FIVE = (
    *_KEY,
    sql.SQL("CREATE INDEX ON {table} (status, time DESC)"),
    sql.SQL("CREATE INDEX ON {table} (temperature)"),
    sql.SQL("CREATE INDEX ON {table} (message, time DESC)"),
)

_BY_PSQL = r"zcat | psql \copy"
_PSQL = Way("psql", _BY_PSQL, "psql", script=(_COPY,))
_FLOOR = Way(
    "floor",
    "floor: COPY into a plain table, then its indexes",
    "psql",
    script=(r"\copy silver.plain FROM pstdin WITH (FORMAT csv, HEADER)",),
    builds_indexes=True,
)
_PSQL_STAGING = Way(
    "psql-staging",
    "unlogged staging + INSERT by psql",
    "psql",
    script=(
        "CREATE UNLOGGED TABLE silver.staging (LIKE silver.telemetry)",
        r"\copy silver.staging FROM pstdin WITH (FORMAT csv, HEADER)",
        "INSERT INTO silver.telemetry SELECT * FROM silver.staging ON CONFLICT DO NOTHING",
        "DROP TABLE silver.staging",
    ),
    most_rows=3_000_000,
)
_RECIPE = Way("recipe", "the old recipe: two temporary files, staging INCLUDING ALL", "recipe", most_rows=3_000_000)
_PSQL_REPLACE = Way("psql", f"drop_chunks, {_BY_PSQL}", "psql", script=(_DROP, _COPY))
_PSQL_COMPRESS = Way("psql", f"{_BY_PSQL} + compress_chunk", "psql", script=(_COPY, _COMPRESS))
_PSQL_RECOMPRESS = Way("psql", f"drop_chunks, {_BY_PSQL} + compress_chunk", "psql", script=(_DROP, _COPY, _COMPRESS))


def _copy(**fields: str) -> dict[str, Any]:
    return {"copy": fields}


def _decompress(*, window: bool | str) -> dict[str, Any]:
    return {"timescaledb": {"decompress_window": window}}


_TEXT, _BINARY = _copy(format="text"), _copy(format="binary")
_STREAM_TEXT, _STREAM_BINARY = _copy(transfer="stream", format="text"), _copy(transfer="stream", format="binary")
_SPOOL_TEXT, _SPOOL_BINARY = _copy(transfer="spool", format="text"), _copy(transfer="spool", format="binary")
_KEEP_INDEXES = _copy(indexes="keep", format="text")
_STAGED = {"destination": {"mode": "staging"}}
_REPLACED = {"destination": {"on_existing": "replace"}}
_APPENDED = {"destination": {"on_existing": "append"}}
_COMPRESSED = {"timescaledb": {"compress_new_chunks": True}}


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
            _function("spool", "spool, text", _SPOOL_TEXT),
            _function("spool-binary", "spool, binary", _SPOOL_BINARY),
            _function("keep", "text, indexes kept", _KEEP_INDEXES, most_rows=3_000_000),
            _function("staging", "staging", _STAGED, most_rows=3_000_000),
            _function("staging-text", "staging, text", _STAGED, _TEXT, most_rows=3_000_000),
            *(_PSQL_STAGING, _RECIPE, _parallel(1), _parallel(2), _parallel(4)),
        ),
        most_rows=10_000_000,
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
        (_PSQL_REPLACE, *_as_it_comes_text_and_binary("replace", _REPLACED)),
        "the day",
    ),
    Case(
        "compressed",
        "a fresh day that ends compressed, primary key + time index",
        _KEY,
        (
            _PSQL_COMPRESS,
            _function("default", "as it comes", _COMPRESSED),
            _function("text", "text", _COMPRESSED, _TEXT),
            _function("binary", "binary", _COMPRESSED, _BINARY),
        ),
        is_compressed=True,
    ),
    Case(
        "beside",
        "a chunk that holds compressed rows, and ends compressed",
        _KEY,
        (
            _PSQL_COMPRESS,
            _function("default", "append, as it comes", _APPENDED),
            _function("decompress", "append, decompressed first", _APPENDED, _decompress(window=True)),
            _function("auto", "append, decompress_window auto", _APPENDED, _decompress(window="auto")),
            _function("beside", "append, not decompressed", _APPENDED, _decompress(window=False)),
        ),
        "other rows",
        is_compressed=True,
    ),
    Case(
        "compressed-replace",
        "a compressed day that is replaced, and ends compressed",
        _KEY,
        (_PSQL_RECOMPRESS, _function("default", "replace", _REPLACED)),
        "the day",
        is_compressed=True,
    ),
)
