"""Reads what the target is from the catalogue: columns, edition, version, time column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from psycopg2 import sql

from shared.errors import DatabaseInRestoreMode, TableNotFound, UnknownColumn
from shared.model.window import TimeKind, Window
from shared.names import QualifiedName
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import savepoint
from shared.postgres.search_path import by_users_path, literal
from shared.timescale.relations import refuse_extensions, refuse_other_kind, refuse_part
from shared.timescale.triggers import IS_USERS


@dataclass(frozen=True)
class TimescaleDB:
    """The extension in this database.

    Attributes:
        version: `pg_extension.extversion`.
        schema: the schema of its functions; it need not be on the search_path.
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
        """Whether the version, such as `2.19.3` or `2.30.0-dev`, is this one or newer."""
        found = [int("".join(filter(str.isdigit, part))) for part in self.version.split(".")[:2]]
        return found >= [major, minor]

    def function(self, name: str) -> sql.Composed:
        """Return the qualified name of one of the extension's functions."""
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(name))


def find_timescaledb(cursor: Cursor) -> TimescaleDB | None:
    """Find the extension; None if the database has none.

    Raises:
        DatabaseInRestoreMode: `timescaledb.restoring` is on, as `timescaledb_pre_restore()` sets it for the
            whole database. From 2.23 on, a COPY into a hypertable would then put its rows where no query
            finds them.
    """
    cursor.execute(
        "SELECT e.extversion, n.nspname, pg_catalog.current_setting('timescaledb.license', true),"
        " coalesce(pg_catalog.current_setting('timescaledb.restoring', true), 'off')"
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


# By the type's number in the catalogue, which initdb gives (src/include/catalog/pg_type.dat). What `format_type` writes
# depends on precision, search_path and quote_all_identifiers.
_TIME_TYPES: dict[int, tuple[TimeKind, sql.SQL]] = {
    1184: ("timestamptz", sql.SQL("timestamp with time zone")),
    1114: ("timestamp", sql.SQL("timestamp without time zone")),
    1082: ("date", sql.SQL("pg_catalog.date")),
    21: ("integer", sql.SQL("smallint")),
    23: ("integer", sql.SQL("integer")),
    20: ("integer", sql.SQL("bigint")),
    2950: ("uuid", sql.SQL("pg_catalog.uuid")),
}
# A number or a UUID is a time only if TimescaleDB or the request says so.
_NOT_ONLY_TIMES = (None, "integer", "uuid")
# timestamp, time and date: PostgreSQL reads a time with an offset into them, and drops the offset.
_ZONELESS_TYPES = (1114, 1083, 1082)
_TEXT = 25


# TimescaleDB's C functions that refuse a value with 0A000 and a message that repeats it, and what we say.
VALUE_REFUSALS = {"ts_time_value_to_internal": "the time column takes UUIDs of version 7 only"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type_sql: its type as SQL, as PostgreSQL's `format_type` writes it.
        is_generated: PostgreSQL computes it and accepts no value.
        type_oid: its type's number in the catalogue.
        type_mod: its type's modifier there, such as a precision; -1 if it has none.
        base_oid: the number of the type that a domain is made of, through other domains too; otherwise its type's.
    """

    name: str
    type_sql: str = "text"
    is_generated: bool = False
    type_oid: int = _TEXT
    type_mod: int = -1
    base_oid: int = _TEXT

    @property
    def time_kind(self) -> TimeKind | None:
        """Kind of its type; None where a day cannot be found in it."""
        return _TIME_TYPES[self.base_oid][0] if self.base_oid in _TIME_TYPES else None

    @property
    def drops_offset(self) -> bool:
        """Whether PostgreSQL reads a time with an offset into it, and silently drops the offset."""
        return self.base_oid in _ZONELESS_TYPES


@dataclass(frozen=True)
class Table:
    """A table that rows can be copied into.

    Attributes:
        oid: its oid.
        schema_oid: its schema's oid.
        schema: its schema.
        name: its name.
        columns: in the table's own order, without dropped ones.
        timescaledb: the extension; None if the database has none.
        hypertable_id: TimescaleDB's id of the hypertable; None if it is a plain table.
        time_column: the primary dimension of a hypertable, or the time column of a plain table.
        time_type: its type's number in the catalogue, a domain's is that of its base; None if it is a uuid of which
            only a function of the user's knows the time.
        has_partitioning_function: a function of the time column cuts the chunks (`time_partitioning_func`), so their
            ranges say nothing about the column's values.
        integer_now: the present time in an integer column's unit, if the hypertable has an `integer_now_func`.
        has_children: other tables inherit from it (INHERITS), so a query of it reads their rows as well. False for a
            hypertable.
    """

    oid: int
    schema_oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    timescaledb: TimescaleDB | None = None
    hypertable_id: int | None = None
    time_column: str | None = None
    time_type: int | None = None
    has_partitioning_function: bool = False
    integer_now: int | None = field(default=None, compare=False)
    has_children: bool = False

    def __str__(self) -> str:
        """Return the name for a person."""
        return f"{self.schema}.{self.name}"

    @property
    def time_kind(self) -> TimeKind | None:
        """Kind of the time column; None if days cannot be found in its type (a user-defined type)."""
        return _TIME_TYPES[self.time_type][0] if self.time_type in _TIME_TYPES else None

    @property
    def time_sql(self) -> sql.SQL:
        """The time column's type for SQL; `time_kind` must not be None."""
        return _TIME_TYPES[self.time_type or 0][1]

    @property
    def takes_version_7_alone(self) -> bool:
        """Whether TimescaleDB partitions by a uuid, and refuses others than version 7 (from 2.22 on)."""
        return self.time_kind == "uuid" and self.hypertable_id is not None and not self.has_partitioning_function

    @property
    def compression(self) -> TimescaleDB | None:
        """The extension, where it can compress the table's chunks."""
        is_able = self.timescaledb is not None and self.timescaledb.is_community and self.hypertable_id is not None
        return self.timescaledb if is_able else None

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified name, quoted for SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def time_identifier(self) -> sql.Identifier:
        """The name of the time column, for a table that has one."""
        return sql.Identifier(self.time_column or "")

    @property
    def own_rows(self) -> sql.Composable:
        """What a query reads for the rows that COPY writes to: not those of tables that inherit from a plain one."""
        return sql.SQL("ONLY {}").format(self.identifier) if self.has_children else self.identifier


def find_table(
    cursor: Cursor, name: QualifiedName, *, target: str = "destination.target_table", time_column: str | None = None
) -> Table:
    """Read a table from the catalogue.

    Args:
        cursor: in the load's transaction.
        name: with its schema.
        target: the field of the request that named it, for errors.
        time_column: the time column of a plain table, if the request names it; otherwise its only column of type
            timestamptz, timestamp or date, or of a domain of them, unless another one cuts it into ranges. A hypertable
            has its own. Naming a uuid means that it is of version 7.

    Raises:
        TableNotFound: there is no such table.
        TargetNotATable: the name is that of a view, an aggregate, a chunk, a table of an extension or something else.
        UnknownColumn: `time_column` is not a time column of the table.
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
    timescaledb = find_timescaledb(cursor)
    refuse_other_kind(cursor, name, kind, has_timescaledb=timescaledb is not None, target=target)
    refuse_extensions(cursor, str(name), oid, target=target)
    table = Table(oid, schema_oid, str(name.schema), name.name, _columns(cursor, oid), timescaledb)
    if timescaledb is not None:
        table = _as_hypertable(cursor, table)
        if table.hypertable_id is None:
            refuse_part(cursor, str(table), oid, knows_oids=timescaledb.at_least(2, 29), target=target)
    if table.hypertable_id is None and kind == "r":
        table = replace(table, has_children=_has_children(cursor, oid))
    if table.hypertable_id is None and time_column is None:
        time_column = _only_time_column(cursor, table)
    return table if time_column is None else _with_time_column(table, time_column)


def _only_time_column(cursor: Cursor, table: Table) -> str | None:
    """Return the time column of a plain table if only one column can be it.

    A column by which the table is partitioned into ranges may be its time in a form of its own, such as seconds or a
    text. Then another column is not taken for the time, even if it is the only one of a time's type.
    """
    names = [column.name for column in table.columns if column.time_kind not in _NOT_ONLY_TIMES]
    if len(names) != 1:
        return None
    keys = _range_keys(cursor, table)
    return names[0] if not keys or names[0] in keys else None


def key_columns(cursor: Cursor, table: Table) -> frozenset[str]:
    """Return the columns of the table's unique keys, and those by which it is cut into ranges."""
    cursor.execute(
        "SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a"
        " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::pg_catalog.int2[])"
        " WHERE i.indrelid = %s AND i.indisunique",
        (table.oid,),
    )
    return frozenset(name for (name,) in cursor.fetchall()) | _range_keys(cursor, table)


def _range_keys(cursor: Cursor, table: Table) -> frozenset[str]:
    """Return the columns by which the table, one it is a partition of, or one of its partitions is cut into ranges.

    PostgreSQL notes each column of the key, those in expressions included, as one that depends on its table
    (`StorePartitionKey` in src/backend/catalog/heap.c).
    """
    cursor.execute(
        "SELECT a.attname FROM pg_catalog.pg_partitioned_table p"
        " JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = p.partrelid"
        "  AND d.objsubid > 0 AND d.refclassid = d.classid AND d.refobjid = d.objid AND d.refobjsubid = 0"
        "  AND d.deptype = 'i'"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = d.objsubid"
        " WHERE p.partstrat = 'r'"
        " AND (p.partrelid IN (SELECT f.relid FROM pg_catalog.pg_partition_ancestors(%(table)s) f)"
        "  OR %(table)s IN (SELECT f.relid FROM pg_catalog.pg_partition_ancestors(p.partrelid) f))",
        {"table": table.oid},
    )
    return frozenset(name for (name,) in cursor.fetchall())


def _with_time_column(table: Table, name: str) -> Table:
    if table.hypertable_id is not None and name != table.time_column:
        raise UnknownColumn(
            f'the time column of the hypertable is "{table.time_column}"', target="destination.time_column"
        )
    column = next((column for column in table.columns if column.name == name), None)
    if column is None:
        raise UnknownColumn(f'the table has no column "{name}"', target="destination.time_column")
    if column.time_kind is None and table.hypertable_id is None:
        raise UnknownColumn(
            f'the column "{name}" is of type {column.type_sql}, which is not a time',
            target="destination.time_column",
        )
    return replace(table, time_column=name, time_type=column.base_oid)


def inside(table: Table, window: Window) -> sql.Composed:
    """Write the condition that a row lies in the window."""
    return within(table, table.time_identifier, window)


def within(table: Table, time: sql.Identifier, window: Window) -> sql.Composed:
    """Write the condition that a value of the table's time column lies in the window."""
    lower, upper = window.column_bounds
    # Literals: psycopg2 looks for parameters in the whole statement, a `%` in a name included.
    condition = sql.SQL("{time} OPERATOR(pg_catalog.>=) {lower} AND {time} OPERATOR(pg_catalog.<) {upper}").format(
        time=time, lower=literal(lower), upper=literal(upper)
    )
    if window.kind != "uuid" or table.takes_version_7_alone:
        return condition
    # Others sort between those of version 7.
    return sql.SQL("{} AND {}").format(condition, _IS_VERSION_7.format(time=time))


# By the octets of RFC 9562: PostgreSQL has functions for it from 17 on.
_IS_VERSION_7 = sql.SQL(
    "(pg_catalog.get_byte(pg_catalog.uuid_send({time}), 6) OPERATOR(pg_catalog.>>) 4) OPERATOR(pg_catalog.=) 7"
    " AND (pg_catalog.get_byte(pg_catalog.uuid_send({time}), 8) OPERATOR(pg_catalog.>>) 6) OPERATOR(pg_catalog.=) 2"
)
_MILLISECONDS = sql.SQL(
    "pg_catalog.concat('x', pg_catalog.encode(pg_catalog.substr(pg_catalog.uuid_send({time}), 1, 6), 'hex'))"
    "::bit(48)::bigint"
)


def instant(table: Table, time: sql.Identifier) -> sql.Composable:
    """Write what orders and shows a value of the time column: the value, or the time of a UUID.

    That is NULL for a UUID of another version than 7.
    """
    if table.time_kind != "uuid":
        return time
    if table.takes_version_7_alone and table.timescaledb is not None:
        return sql.SQL("{}({})").format(table.timescaledb.function("uuid_timestamp"), time)
    return sql.SQL(
        "CASE WHEN {} THEN timestamp with time zone 'epoch'"
        " OPERATOR(pg_catalog.+) ({} OPERATOR(pg_catalog.*) interval '1 millisecond') END"
    ).format(_IS_VERSION_7.format(time=time), _MILLISECONDS.format(time=time))


def has_unique_index(cursor: Cursor, table: Table) -> bool:
    """Whether rows can conflict, so that ON CONFLICT DO NOTHING has an effect."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index WHERE indrelid = %s AND (indisunique OR indisexclusion))",
        (table.oid,),
    )
    return cursor.fetchone() == (True,)


def has_insert_triggers(cursor: Cursor, table: Table) -> bool:
    """Whether the user's own triggers run for an INSERT, those of a partition or chunk included. Bit 4 of `tgtype`."""
    cursor.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgtype & 4 = 4 AND {}"
            " AND (t.tgrelid = %(table)s"
            " OR %(table)s IN (SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = t.tgrelid)"
            " OR %(table)s IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.tgrelid) a)))"
        ).format(IS_USERS),
        {"table": table.oid},
    )
    return cursor.fetchone() == (True,)


def has_insert_rule(cursor: Cursor, table: Table) -> bool:
    """Whether a rule rewrites an INSERT. COPY does not apply rules. Event 3 is INSERT; D is disabled."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = %s AND ev_type = '3' AND ev_enabled <> 'D')",
        (table.oid,),
    )
    return cursor.fetchone() == (True,)


def _columns(cursor: Cursor, oid: int) -> tuple[Column, ...]:
    cursor.execute(
        "WITH RECURSIVE types (type, base, next) AS ("
        " SELECT t.oid, t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid IN (SELECT a.atttypid"
        "  FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped)"
        " UNION ALL SELECT s.type, t.oid, t.typbasetype FROM types s JOIN pg_catalog.pg_type t ON t.oid = s.next)"
        " SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attgenerated <> '', atttypid, atttypmod, s.base"
        " FROM pg_catalog.pg_attribute JOIN types s ON s.type = atttypid AND s.next = 0"
        " WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        {"table": oid},
    )
    return tuple(Column(*row) for row in cursor.fetchall())


def _has_children(cursor: Cursor, oid: int) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = %s)", (oid,))
    return cursor.fetchone() == (True,)


def _as_hypertable(cursor: Cursor, table: Table) -> Table:
    # The primary dimension is the one that was created first, as in timescaledb_information.dimensions.
    cursor.execute(
        "SELECT h.id, d.column_name, d.column_type::oid,"
        " d.partitioning_func IS NOT NULL, d.integer_now_func_schema, d.integer_now_func"
        " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN _timescaledb_catalog.hypertable h ON h.schema_name = n.nspname AND h.table_name = c.relname"
        " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id WHERE c.oid = %s ORDER BY d.id LIMIT 1",
        (table.oid,),
    )
    row = cursor.fetchone()
    if row is None:
        return table
    hypertable_id, column, type_, has_function, now_schema, now_name = row
    return replace(
        table,
        hypertable_id=hypertable_id,
        time_column=column,
        # The function may read another version, or something of its own.
        time_type=None if has_function and _TIME_TYPES.get(type_, ("",))[0] == "uuid" else type_,
        has_partitioning_function=has_function,
        integer_now=None if now_name is None else _call_integer_now(cursor, (now_schema, now_name)),
    )


def _call_integer_now(cursor: Cursor, function: tuple[str, str]) -> int | None:
    # A user's function: it may fail, and the restore does not need it.
    with savepoint(cursor, "integer_now_func"):
        cursor.execute(by_users_path(sql.SQL("SELECT {}()::bigint").format(sql.Identifier(*function))))
        row = cursor.fetchone()
        return None if row is None else row[0]
    return None
