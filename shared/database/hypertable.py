"""What the target is: columns, edition, version, time column, chunks over a window. Asked of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg2 import sql

from shared.database.connection import Cursor, optional_step
from shared.database.window import TimeKind, Window
from shared.errors import DatabaseInRestoreMode, TableNotFound, TargetNotATable
from shared.names import QualifiedName

_TIME_KINDS: dict[str, TimeKind] = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "date": "date",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
}


@dataclass(frozen=True)
class TimescaleDB:
    """The extension as this database has it.

    Attributes:
        version: `pg_extension.extversion`.
        schema: where its functions are; it need not be on the search_path.
        edition: "apache" or "community", from `timescaledb.license` (apache | timescale). Azure Database for
            PostgreSQL ships the Apache edition only, where compression and continuous aggregates raise 0A000.
    """

    version: str
    schema: str
    edition: str

    @property
    def is_community(self) -> bool:
        """Whether compression and continuous aggregates exist."""
        return self.edition == "community"

    def at_least(self, major: int, minor: int) -> bool:
        """Compare the version, `2.19.3` or `2.30.0-dev`."""
        found = [int("".join(filter(str.isdigit, part))) for part in self.version.split(".")[:2]]
        return found >= [major, minor]

    def function(self, name: str) -> sql.Composed:
        """Name one of the extension's functions with its schema."""
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(name))


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type_sql: its type as SQL, as PostgreSQL's `format_type` writes it.
        is_generated: PostgreSQL computes it and takes no value.
    """

    name: str
    type_sql: str = "text"
    is_generated: bool = False


@dataclass(frozen=True)
class Chunk:
    """A chunk of a hypertable. Its range is half open and of the primary dimension."""

    schema: str
    name: str
    is_compressed: bool

    def __str__(self) -> str:
        """Return the name as a person reads it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Table:
    """A table that rows can be copied into.

    Attributes:
        schema: its schema.
        name: its name.
        columns: in the table's own order, dropped ones left out.
        timescaledb: the extension, or None where the database has none.
        hypertable_id: TimescaleDB's number of it, or None where it is a plain table.
        time_column: the primary dimension of a hypertable.
        time_type: its type, as PostgreSQL's `format_type` writes it.
        integer_now: a value of the present time in an integer column's unit, where the hypertable has an
            `integer_now_func`.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    timescaledb: TimescaleDB | None = None
    hypertable_id: int | None = None
    time_column: str | None = None
    time_type: str | None = None
    integer_now: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Return the name as a person reads it."""
        return f"{self.schema}.{self.name}"

    @property
    def time_kind(self) -> TimeKind | None:
        """Kind of the time column; None where a day cannot be found in its type (a uuid, an own type)."""
        return None if self.time_type is None else _TIME_KINDS.get(self.time_type)

    @property
    def identifier(self) -> sql.Identifier:
        """The name for SQL, quoted."""
        return sql.Identifier(self.schema, self.name)


def find_timescaledb(cursor: Cursor) -> TimescaleDB | None:
    """Ask for the extension.

    Raises:
        DatabaseInRestoreMode: `timescaledb.restoring` is on, as `timescaledb_pre_restore()` sets it for the
            whole database. From 2.23 on a COPY into a hypertable would then put its rows where no query
            finds them.
    """
    cursor.execute(
        "SELECT e.extversion, n.nspname, current_setting('timescaledb.license', true),"
        " coalesce(current_setting('timescaledb.restoring', true), 'off')"
        " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'timescaledb'"
    )
    row = cursor.fetchone()
    if row is None:
        return None
    version, schema, license_, restoring = row
    if restoring != "off":
        raise DatabaseInRestoreMode("timescaledb.restoring is on in this database")
    return TimescaleDB(version, schema, "community" if license_ == "timescale" else "apache")


def find_table(cursor: Cursor, name: QualifiedName, *, target: str = "destination.target_table") -> Table:
    """Ask what a table is.

    Args:
        cursor: inside the load's transaction.
        name: with its schema.
        target: the field of the request that named it, for errors.

    Raises:
        TableNotFound: there is no such table.
        TargetNotATable: the name is that of a view or of something else.
        DatabaseInRestoreMode: see `find_timescaledb`.
    """
    cursor.execute(
        "SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (name.schema, name.name),
    )
    row = cursor.fetchone()
    if row is None:
        raise TableNotFound(f"there is no table {name}", target=target)
    oid, kind = row
    if kind not in ("r", "p"):  # ordinary and partitioned tables
        raise TargetNotATable(f"{name} is not a table", target=target)
    timescaledb = find_timescaledb(cursor)
    hypertable_id, time_column, time_type, integer_now_func = (
        (None, None, None, None) if timescaledb is None else _hypertable(cursor, name)
    )
    return Table(
        schema=str(name.schema),
        name=name.name,
        columns=_columns(cursor, oid),
        timescaledb=timescaledb,
        hypertable_id=hypertable_id,
        time_column=time_column,
        time_type=time_type,
        integer_now=None if integer_now_func is None else _call_integer_now(cursor, integer_now_func),
    )


def _columns(cursor: Cursor, oid: int) -> tuple[Column, ...]:
    cursor.execute(
        "SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attgenerated <> ''"
        " FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    )
    return tuple(Column(*row) for row in cursor.fetchall())


def _hypertable(
    cursor: Cursor, name: QualifiedName
) -> tuple[int | None, str | None, str | None, tuple[str, str] | None]:
    # The primary dimension is the one that was made first, as in timescaledb_information.dimensions.
    cursor.execute(
        "SELECT h.id, d.column_name, format_type(d.column_type, NULL),"
        " d.integer_now_func_schema, d.integer_now_func"
        " FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id"
        " WHERE h.schema_name = %s AND h.table_name = %s ORDER BY d.id LIMIT 1",
        (name.schema, name.name),
    )
    row = cursor.fetchone()
    if row is None:
        return None, None, None, None
    hypertable_id, column, type_, now_schema, now_name = row
    return hypertable_id, column, type_, None if now_name is None else (now_schema, now_name)


def _call_integer_now(cursor: Cursor, function: tuple[str, str]) -> int | None:
    # A function of the user's: it may fail, and the restore can do without.
    with optional_step(cursor):
        cursor.execute(sql.SQL("SELECT {}()::bigint").format(sql.Identifier(*function)))
        row = cursor.fetchone()
        return None if row is None else row[0]
    return None


def chunks_overlapping(cursor: Cursor, table: Table, window: Window) -> tuple[Chunk, ...]:
    """List the chunks that share any instant with the window, oldest first.

    `show_chunks(newer_than, older_than)` lists those that lie wholly inside, which for one day in a 7-day chunk
    are none (measured on 2.19 - 2.31), so the ranges are compared here. `timescaledb_information.chunks` gives the
    ranges of `timestamp` and `date` columns as the timestamptz of the same UTC time.
    """
    lower, upper = window.chunk_bounds
    cursor.execute(
        sql.SQL(
            "SELECT chunk_schema, chunk_name, coalesce(is_compressed, false) FROM timescaledb_information.chunks"
            " WHERE hypertable_schema = %s AND hypertable_name = %s"
            " AND {start} < %s AND {end} > %s ORDER BY {start}, chunk_name"
        ).format(**range_columns(window)),
        (table.schema, table.name, upper, lower),
    )
    return tuple(Chunk(*row) for row in cursor.fetchall())


def range_columns(window: Window) -> dict[str, sql.Composable]:
    """Name the columns of `timescaledb_information.chunks` that hold the range of a chunk, as `start` and `end`."""
    suffix = "_integer" if window.kind == "integer" else ""
    return {name: sql.Identifier(f"range_{name}{suffix}") for name in ("start", "end")}
