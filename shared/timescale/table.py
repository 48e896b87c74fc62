"""What the target is: columns, edition, version, time column. Asked of the catalogue, not assumed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from psycopg2 import sql

from shared.errors import DatabaseInRestoreMode, TableNotFound, TargetNotATable, UnknownColumn
from shared.model.window import TimeKind
from shared.names import QualifiedName
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import savepoint


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


_TIME_KINDS: dict[str, TimeKind] = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "date": "date",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
}
# The same types for a cast: what the catalogue says is looked up, and never becomes SQL by itself.
_TIME_SQL: dict[str, sql.SQL] = {
    "timestamp with time zone": sql.SQL("timestamp with time zone"),
    "timestamp without time zone": sql.SQL("timestamp without time zone"),
    "date": sql.SQL("date"),
    "smallint": sql.SQL("smallint"),
    "integer": sql.SQL("integer"),
    "bigint": sql.SQL("bigint"),
}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type_sql: its type as SQL, as PostgreSQL's `format_type` writes it.
        is_generated: PostgreSQL computes it and takes no value.
        is_builtin: its type is PostgreSQL's own, and none of the same name in another schema.
    """

    name: str
    type_sql: str = "text"
    is_generated: bool = False
    is_builtin: bool = True

    @property
    def drops_offset(self) -> bool:
        """Whether PostgreSQL reads a time with an offset into it, and drops the offset without a word."""
        # With a precision it is `timestamp(3) without time zone`; quote_all_identifiers quotes `date` alone.
        is_zoneless = self.type_sql.startswith("time") and self.type_sql.endswith(" without time zone")
        return self.is_builtin and (is_zoneless or self.type_sql.strip('"') == "date")


@dataclass(frozen=True)
class Table:
    """A table that rows can be copied into.

    Attributes:
        oid: its number in the catalogue.
        schema_oid: its schema's.
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

    oid: int
    schema_oid: int
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
    def time_sql(self) -> sql.SQL:
        """The time column's type for SQL, where a day can be found in it."""
        return _TIME_SQL[self.time_type or ""]

    @property
    def identifier(self) -> sql.Identifier:
        """The name for SQL, quoted."""
        return sql.Identifier(self.schema, self.name)


def find_table(
    cursor: Cursor, name: QualifiedName, *, target: str = "destination.target_table", time_column: str | None = None
) -> Table:
    """Ask what a table is.

    Args:
        cursor: in the load's transaction.
        name: with its schema.
        target: the field of the request that named it, for errors.
        time_column: of a plain table, where the request names it; by default its only column of type timestamptz,
            timestamp or date. A hypertable knows its own.

    Raises:
        TableNotFound: there is no such table.
        TargetNotATable: the name is that of a view, of a chunk or of something else.
        UnknownColumn: `time_column` is no time column of the table.
        DatabaseInRestoreMode: see `find_timescaledb`.
    """
    cursor.execute(
        "SELECT c.oid, n.oid, c.relkind FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (name.schema, name.name),
    )
    row = cursor.fetchone()
    if row is None:
        raise TableNotFound(f"there is no table {name}", target=target)
    oid, schema_oid, kind = row
    if kind not in ("r", "p"):  # ordinary and partitioned tables
        raise TargetNotATable(f"{name} is not a table", target=target)
    columns = _columns(cursor, oid)
    table = Table(oid, schema_oid, str(name.schema), name.name, columns, find_timescaledb(cursor))
    if table.timescaledb is not None:
        table = _as_hypertable(cursor, table)
        if table.hypertable_id is None:
            _refuse_chunk(cursor, table, target)
    if table.hypertable_id is None and time_column is None:
        time_column = _only_time_column(table)
    return table if time_column is None else _with_time_column(table, time_column)


def _only_time_column(table: Table) -> str | None:
    """Name the column of a plain table that must be its time, if it has one column only that can be."""
    names = [column.name for column in table.columns if _TIME_KINDS.get(column.type_sql, "integer") != "integer"]
    return names[0] if len(names) == 1 else None


def _with_time_column(table: Table, name: str) -> Table:
    if table.hypertable_id is not None:
        if name != table.time_column:
            raise UnknownColumn(
                f'the time column of the hypertable is "{table.time_column}"', target="destination.time_column"
            )
        return table
    types = {column.name: column.type_sql for column in table.columns}
    if name not in types:
        raise UnknownColumn(f'the table has no column "{name}"', target="destination.time_column")
    if types[name] not in _TIME_KINDS:
        raise UnknownColumn(
            f'the column "{name}" is of type {types[name]}, in which no day can be found',
            target="destination.time_column",
        )
    return replace(table, time_column=name, time_type=types[name])


def has_unique_index(cursor: Cursor, table: Table) -> bool:
    """Whether any row can be in conflict with another one, so that ON CONFLICT DO NOTHING means something."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indrelid = %s AND (indisunique OR indisexclusion))",
        (table.oid,),
    )
    return cursor.fetchone() == (True,)


def has_insert_triggers(cursor: Cursor, table: Table) -> bool:
    """Whether the user's own triggers run for each row that is inserted. Bits 1 and 4 of `tgtype`: row, insert."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = %s AND NOT tgisinternal"
        " AND tgtype & 5 = 5 AND tgname NOT IN ('ts_insert_blocker', 'ts_cagg_invalidation_trigger'))",
        (table.oid,),
    )
    return cursor.fetchone() == (True,)


def _columns(cursor: Cursor, oid: int) -> tuple[Column, ...]:
    cursor.execute(
        # Numbers below 16,384 are given by initdb alone: FirstNormalObjectId in src/include/access/transam.h.
        "SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attgenerated <> '', atttypid < 16384"
        " FROM pg_catalog.pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    )
    return tuple(Column(*row) for row in cursor.fetchall())


def _refuse_chunk(cursor: Cursor, table: Table, target: str) -> None:
    """Refuse a chunk by its own name: the guard of the day would be missed."""
    cursor.execute(
        "SELECT h.schema_name, h.table_name FROM pg_catalog.pg_inherits i"
        " JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace"
        " JOIN _timescaledb_catalog.hypertable h ON h.schema_name = n.nspname AND h.table_name = p.relname"
        " WHERE i.inhrelid = %s",
        (table.oid,),
    )
    row = cursor.fetchone()
    if row is not None:
        raise TargetNotATable(f"{table} is a chunk of {row[0]}.{row[1]}", target=target, hint="name the hypertable")


def _as_hypertable(cursor: Cursor, table: Table) -> Table:
    # The primary dimension is the one that was made first, as in timescaledb_information.dimensions.
    cursor.execute(
        "SELECT h.id, d.column_name, pg_catalog.format_type(d.column_type, NULL),"
        " d.integer_now_func_schema, d.integer_now_func"
        " FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id"
        " WHERE h.schema_name = %s AND h.table_name = %s ORDER BY d.id LIMIT 1",
        (table.schema, table.name),
    )
    row = cursor.fetchone()
    if row is None:
        return table
    hypertable_id, column, type_, now_schema, now_name = row
    return replace(
        table,
        hypertable_id=hypertable_id,
        time_column=column,
        time_type=type_,
        integer_now=None if now_name is None else _call_integer_now(cursor, (now_schema, now_name)),
    )


def _call_integer_now(cursor: Cursor, function: tuple[str, str]) -> int | None:
    # A function of the user's: it may fail, and the restore can do without.
    with savepoint(cursor):
        cursor.execute(sql.SQL("SELECT {}()::bigint").format(sql.Identifier(*function)))
        row = cursor.fetchone()
        return None if row is None else row[0]
    return None
