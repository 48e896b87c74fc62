"""What is compared, as data: the tables, what they hold before, and the ways to load a day into them.

A new case is one entry of `CASES`, its target one line in `targets.py`, and the days it is timed on one in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from psycopg2 import sql

State: TypeAlias = Literal["empty", "other rows", "the day"]


@dataclass(frozen=True)
class Way:
    """One way to load the day.

    Attributes:
        name: stable key, unique in its case.
        title: for a person.
        program: what loads the day: this function; psql; psql into a table that is no hypertable, whose indexes it
            builds at the end; the user's old recipe; timescaledb-parallel-copy.
        request: what the request says besides the archive and the server.
        script: commands for psql, one transaction; its standard input is the CSV.
        workers: connections of timescaledb-parallel-copy.
        looks: how often the restore is asked how far it is. It runs behind the queue then, and its own seconds count:
            a message may wait for 2 s. None: a call that waits.
    """

    name: str
    title: str
    program: Literal["function", "psql", "floor", "recipe", "parallel-copy"]
    request: Mapping[str, Any] = field(default_factory=dict)
    script: tuple[str, ...] = ()
    workers: int = 0
    looks: int | None = None


@dataclass(frozen=True)
class Case:
    """One table in one state, and the ways that are timed on it in turns.

    Attributes:
        name: stable key.
        title: for a person.
        indexes: SQL that gives the table its indexes.
        ways: the first one is what the others are compared with.
        state: what the target holds before.
        is_compressed: the hypertable has a columnstore, what it holds before is compressed, and the day must end
            compressed. Community edition only.
    """

    name: str
    title: str
    indexes: tuple[sql.SQL, ...]
    ways: tuple[Way, ...]
    state: State = "empty"
    is_compressed: bool = False


def _function(name: str, title: str, **request: Any) -> Way:
    return Way(name, f"this project, {title}", "function", request)


def _psql(title: str, *script: str, name: str = "psql") -> Way:
    return Way(name, title, "psql", script=script)


def _parallel(workers: int) -> Way:
    title = f"timescaledb-parallel-copy, {workers} worker{'s' if workers > 1 else ''} (not atomic)"
    return Way(f"parallel-{workers}", title, "parallel-copy", workers=workers)


def _as_it_comes_text_and_binary(title: str, **request: Any) -> tuple[Way, ...]:
    streamed = f"{title}, stream".removeprefix("as it comes, ")
    return (
        _function("default", title, **request),
        _function("stream", f"{streamed}, text", **request, copy={"transfer": "stream", "format": "text"}),
        _function("binary", f"{streamed}, binary", **request, copy={"transfer": "stream", "format": "binary"}),
    )


def _compressed(name: str, title: str, ways: tuple[Way, ...], state: State = "empty") -> Case:
    return Case(name, title, _KEY, ways, state, is_compressed=True)


_TIME = sql.SQL("CREATE INDEX ON silver.telemetry (time DESC)")
_KEY = (sql.SQL("ALTER TABLE silver.telemetry ADD PRIMARY KEY (device_id, time)"), _TIME)
_UNIQUE = (sql.SQL("CREATE UNIQUE INDEX ON silver.telemetry (device_id, time)"), _TIME)
_FIVE = (
    *_KEY,
    sql.SQL("CREATE INDEX ON silver.telemetry (status, time DESC)"),
    sql.SQL("CREATE INDEX ON silver.telemetry (temperature)"),
    sql.SQL("CREATE INDEX ON silver.telemetry (message, time DESC)"),
)

_COPY = r"\copy silver.telemetry FROM pstdin WITH (FORMAT csv, HEADER)"
_COMPRESS = "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('silver.telemetry') c"
# The fastest way to remove a day, and still in one transaction with the COPY.
_DROP = "SELECT drop_chunks('silver.telemetry', older_than => 'infinity'::timestamptz)"

_BY_PSQL = r"zcat | psql \copy"
_PSQL = _psql(_BY_PSQL, _COPY)
_PSQL_COMPRESSED = _psql(f"{_BY_PSQL} + compress_chunk", _COPY, _COMPRESS)
_PSQL_STAGING = _psql(
    "unlogged staging + INSERT by psql",
    "CREATE UNLOGGED TABLE silver.staging (LIKE silver.telemetry)",
    r"\copy silver.staging FROM pstdin WITH (FORMAT csv, HEADER)",
    "INSERT INTO silver.telemetry SELECT * FROM silver.staging ON CONFLICT DO NOTHING",
    "DROP TABLE silver.staging",
    name="psql-staging",
)
_FLOOR = Way("floor", "floor: COPY into a plain table, then its indexes", "floor", script=(_COPY,))
_RECIPE = Way("recipe", "the old recipe: two temporary files, staging INCLUDING ALL", "recipe")

_TEXT, _BINARY = {"format": "text"}, {"format": "binary"}
_STAGED = {"destination": {"mode": "staging"}}
_APPENDED = {"destination": {"on_existing": "append"}}
_REPLACED = {"destination": {"on_existing": "replace"}}
_COMPRESSED = {"timescaledb": {"compress_new_chunks": True}}

_ESSENTIAL_WAYS = (_PSQL, _FLOOR, *_as_it_comes_text_and_binary("as it comes"))
_KEY_WAYS = (
    *_ESSENTIAL_WAYS,
    _function("spool", "spool, text", copy={"transfer": "spool", **_TEXT}),
    _function("spool-binary", "spool, binary", copy={"transfer": "spool", **_BINARY}),
    _function("keep", "text, indexes kept", copy={"indexes": "keep", **_TEXT}),
    _function("staging", "staging", **_STAGED),
    _function("staging-text", "staging, text", **_STAGED, copy=_TEXT),
    *(Way(f"queued-{n}", f"this project, behind the queue, {n} looks", "function", looks=n) for n in (0, 1000)),
    *(_PSQL_STAGING, _RECIPE, _parallel(1), _parallel(2), _parallel(4)),
)
_HOLDS_WAYS = (_PSQL, *_as_it_comes_text_and_binary("append", **_APPENDED))
_REPLACE_WAYS = (
    _psql(f"drop_chunks, {_BY_PSQL}", _DROP, _COPY),
    *_as_it_comes_text_and_binary("replace", **_REPLACED),
)
_COMPRESSED_WAYS = (
    _PSQL_COMPRESSED,
    _function("default", "as it comes", **_COMPRESSED),
    _function("text", "text", **_COMPRESSED, copy=_TEXT),
    _function("binary", "binary", **_COMPRESSED, copy=_BINARY),
)
_BESIDE_WAYS = (
    _PSQL_COMPRESSED,
    _function("default", "append, as it comes", **_APPENDED),
    _function("decompress", "append, decompressed first", **_APPENDED, timescaledb={"decompress_window": True}),
    _function("auto", "append, decompress_window auto", **_APPENDED, timescaledb={"decompress_window": "auto"}),
    _function("beside", "append, not decompressed", **_APPENDED, timescaledb={"decompress_window": False}),
)
_RECOMPRESSED_WAYS = (
    _psql(f"drop_chunks, {_BY_PSQL} + compress_chunk", _DROP, _COPY, _COMPRESS),
    _function("default", "replace", **_REPLACED),
)

CASES = (
    Case("key", "a fresh day, primary key + time index", _KEY, _KEY_WAYS),
    Case("unique", "a fresh day, unique index + time index (no constraint)", _UNIQUE, _ESSENTIAL_WAYS),
    Case("five", "a fresh day, five indexes", _FIVE, (*_ESSENTIAL_WAYS, _parallel(2))),
    Case("none", "a fresh day, no index", (), _ESSENTIAL_WAYS),
    Case("holds", "a chunk that already holds rows, primary key + time index", _KEY, _HOLDS_WAYS, "other rows"),
    Case("replace", "a day that is replaced, primary key + time index", _KEY, _REPLACE_WAYS, "the day"),
    _compressed("compressed", "a fresh day that ends compressed, primary key + time index", _COMPRESSED_WAYS),
    _compressed("beside", "a chunk that holds compressed rows, and ends compressed", _BESIDE_WAYS, "other rows"),
    _compressed(
        "compressed-replace",
        "a compressed day that is replaced, and ends compressed",
        _RECOMPRESSED_WAYS,
        "the day",
    ),
)
