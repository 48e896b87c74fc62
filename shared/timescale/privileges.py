"""Finds the rights that the role lacks for a restore, before anything is written.

PostgreSQL's own functions decide (`has_table_privilege` and similar ones), so superusers, owners, members of a role,
grants to PUBLIC and `pg_write_all_data` count as they do in PostgreSQL:
https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.errors import (
    BYPASS,
    OWNERSHIP,
    DatabasePermissionDenied,
    MissingRight,
    RestoreCanceled,
    RestoreError,
    StatementCanceled,
    lacks,
)
from shared.names import QualifiedName
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import RunsOptional
from shared.timescale.chunks import Chunk
from shared.timescale.references import Referring
from shared.timescale.sequences import NumberSequence, find_sequences
from shared.timescale.table import Table, TimescaleDB


@dataclass(frozen=True)
class Right:
    """A right by its name, and the SQL condition that is true if the role has it."""

    name: str
    target: str
    condition: sql.Composed
    is_needed: bool = True


def to_read(table: Table) -> list[Right]:
    """Rights to count the day's rows. That reads the time column, or, if there is none, whether any row exists."""
    if table.has_partitioning_function:
        # Its chunks are found by `tableoid`, which no right on columns covers.
        return [_on_schema(table, "USAGE"), to_read_rows(table)]
    if table.time_column is None:
        condition = _privilege("has_any_column_privilege", table.oid, "SELECT")
    else:
        condition = _column_privilege(table, table.time_column, "SELECT")
    return [_on_schema(table, "USAGE"), Right("SELECT", str(table), condition)]


def to_read_rows(table: Table) -> Right:
    """Right to read whole rows of the table and of its chunks."""
    return Right("SELECT", str(table), _privilege("has_table_privilege", table.oid, "SELECT"))


def to_write(table: Table, columns: Sequence[str], chunks: Sequence[Chunk]) -> list[Right]:
    """Rights to copy or insert rows, and to lock the table and its chunks over the day.

    INSERT on the columns is enough for the rows, but LOCK needs a right on the whole table
    (LockTableAclCheck in PostgreSQL's src/backend/commands/lockcmds.c).
    """
    by_columns = sql.SQL("{} OR {} AND {}").format(
        _privilege("has_table_privilege", table.oid, "INSERT"),
        _privilege("has_table_privilege", table.oid, "UPDATE, DELETE, TRUNCATE"),
        sql.SQL(" AND ").join(_column_privilege(table, column, "INSERT") for column in columns),
    )
    schemas = sorted({chunk.schema for chunk in chunks})
    return [
        _on_schema(table, "USAGE"),
        Right("INSERT", str(table), by_columns),
        *(_on_named_schema(schema, is_needed=True) for schema in schemas),
    ]


def to_delete(table: Table, *, has_chunks: bool) -> list[Right]:
    """Rights to delete rows. TRUNCATE is the fast way, for whole chunks that no other session reads."""
    delete = Right("DELETE", str(table), _privilege("has_table_privilege", table.oid, "DELETE"))
    truncate = Right("TRUNCATE", str(table), _privilege("has_table_privilege", table.oid, "TRUNCATE"), is_needed=False)
    return [delete, truncate] if has_chunks else [delete]


def to_stage(table: Table, like: Table) -> list[Right]:
    """Rights to create a table like another one in the target's schema. LIKE reads all columns."""
    return [
        _on_schema(table, "USAGE"),
        _on_schema(table, "CREATE"),
        _on_schema(like, "USAGE"),
        to_read_rows(like),
    ]


def to_try(tables: Sequence[Table]) -> list[Right]:
    """Rights to load the rows into temporary doubles of tables, as a full dry run does."""
    temporary = sql.SQL(
        "SELECT pg_catalog.has_database_privilege(oid, 'TEMPORARY') FROM pg_catalog.pg_database"
        " WHERE datname = pg_catalog.current_database()"
    )
    return [
        Right("TEMPORARY", "the database", sql.Composed([temporary]), is_needed=False),
        *(replace(to_read_rows(table), is_needed=False) for table in tables),
    ]


def to_compress(table: Table, timescaledb: TimescaleDB) -> list[Right]:
    """Rights to decompress and compress chunks. Only the owner may (`ts_hypertable_permissions_check`)."""
    return [
        Right(OWNERSHIP, str(table), _owns(table.schema, table.name), is_needed=False),
        _on_named_schema(timescaledb.schema, is_needed=False),
    ]


def to_refresh(names: Sequence[QualifiedName], timescaledb: TimescaleDB) -> list[Right]:
    """Rights to refresh continuous aggregates. Only their owner may."""
    return [
        *(Right(OWNERSHIP, str(name), _owns(str(name.schema), name.name), is_needed=False) for name in names),
        *([_on_named_schema(timescaledb.schema, is_needed=False)] if names else []),
    ]


def to_follow(table: Table, referring: Sequence[Referring]) -> list[Right]:
    """Rights to find the rows that change with those of a table. Policies would hide some, so they must not apply."""
    if not referring:
        return []
    tables = {(one.oid, one.schema_oid): (one.schema, one.name) for one in referring}
    tables |= {(table.oid, table.schema_oid): (table.schema, table.name)}
    rights = []
    for (oid, schema_oid), (schema, name) in tables.items():
        rights += [
            Right("USAGE", f"schema {schema}", _privilege("has_schema_privilege", schema_oid, "USAGE")),
            Right("SELECT", f"{schema}.{name}", _privilege("has_table_privilege", oid, "SELECT")),
        ]
    hides = sql.SQL("NOT pg_catalog.row_security_active({}::oid)")
    rights += [Right(BYPASS, str(one), hides.format(sql.Literal(one.oid))) for one in referring]
    return rights


def to_compare(table: Table, sequences: Sequence[NumberSequence], *, is_needed: bool) -> list[Right]:
    """Rights to see how far loaded values reach in sequences. The rows of the load are found by `xmin`."""
    if not sequences:
        return []
    rights = [replace(to_read_rows(table), is_needed=is_needed)]
    for sequence in sequences:
        rights += [
            _on_named_schema(sequence.schema, is_needed=is_needed),
            Right("SELECT", f"sequence {sequence}", _on_sequence(sequence, "SELECT"), is_needed),
        ]
    return rights


def to_advance(sequences: Sequence[NumberSequence]) -> list[Right]:
    """Right to move sequences. An owner has it."""
    return [
        Right("UPDATE", f"sequence {sequence}", _on_sequence(sequence, "UPDATE"))
        for sequence in sequences
        if not sequence.is_owned
    ]


def comparable_sequences(cursor: Cursor, table: Table, columns: Sequence[str]) -> tuple[NumberSequence, ...]:
    """Find the sequences of columns that the role may compare with the values of rows."""
    found = find_sequences(cursor, table, columns)
    return tuple(one for one in found if not find_missing(cursor, to_compare(table, [one], is_needed=False)))


def policies_apply(cursor: Cursor, oid: int) -> bool:
    """Whether row-level security decides which rows of a table the role may see and write."""
    cursor.execute("SELECT pg_catalog.row_security_active(%s::oid)", (oid,))
    return cursor.fetchone() == (True,)


def can_read(cursor: Cursor, table: Table) -> bool:
    """Whether the role may count the table's rows."""
    return not find_missing(cursor, to_read(table))


def find_missing(cursor: Cursor, rights: Sequence[Right]) -> list[MissingRight]:
    """List the missing rights, each once, by a single query. One that is needed for anything is needed."""
    if not rights:
        return []
    conditions = sql.SQL(", ").join(sql.SQL("({})").format(right.condition) for right in rights)
    cursor.execute(sql.SQL("SELECT CURRENT_USER, {}").format(conditions))
    row = cursor.fetchone()
    role, held = ("", ()) if row is None else (row[0], row[1:])
    missing = [
        MissingRight(role, right.name, right.target, right.is_needed)
        for right, is_held in zip(rights, held, strict=True)
        if not is_held
    ]
    needed = {(right.right, right.target) for right in missing if right.is_needed}
    return list(dict.fromkeys(one for one in missing if one.is_needed or (one.right, one.target) not in needed))


def missing_sequences(cursor: Cursor, table: Table, columns: Sequence[str]) -> list[MissingRight]:
    """List the sequences used by column defaults on which the role lacks USAGE.

    This includes sequences that a default names directly, as that of a `serial` column does. It excludes sequences used
    inside a function, which may have its own rights. The sequence of an identity column needs no rights.

    Args:
        cursor: in any transaction.
        table: the table.
        columns: its columns that take their default.
    """
    if not columns:
        return []
    cursor.execute(
        "SELECT CURRENT_USER, pg_catalog.format('%%s.%%s', n.nspname, s.relname)"
        " FROM pg_catalog.pg_attribute a"
        " JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid"
        "  AND p.refclassid = 'pg_catalog.pg_class'::regclass"
        " JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S'"
        " JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace"
        " WHERE a.attrelid = %s AND a.attname = ANY (%s)"
        # 1574 is nextval(regclass) (src/include/catalog/pg_proc.dat). As text it may be quoted.
        "  AND d.adbin::text LIKE '%%:funcid 1574 %%'"
        # CASE: the server may evaluate the function before it has checked that this is a sequence, and would fail.
        "  AND NOT CASE WHEN s.relkind = 'S' THEN pg_catalog.has_sequence_privilege(s.oid, 'USAGE, UPDATE') END"
        " ORDER BY a.attnum",
        (table.oid, list(columns)),
    )
    return [MissingRight(role, "USAGE", f"sequence {name}") for role, name in cursor.fetchall()]


def name_missing(
    error: RestoreError | None, run_optional: RunsOptional, rights: Sequence[Right]
) -> RestoreError | None:
    """Return a step's error, and name the missing rights if they were the cause.

    A cancel ended only the step, not the restore.

    Args:
        error: of a best-effort step, if it failed.
        run_optional: runs the query for the rights.
        rights: the rights that the step needs.
    """
    if isinstance(error, RestoreCanceled):
        return StatementCanceled("the statement was canceled on the database server", details=error.details)
    if not isinstance(error, DatabasePermissionDenied):
        return error
    missing, _ = run_optional(lambda cursor: find_missing(cursor, rights))
    return lacks(missing) if missing else error


def _on_schema(table: Table, right: str) -> Right:
    condition = _privilege("has_schema_privilege", table.schema_oid, right)
    return Right(right, f"schema {table.schema}", condition)


def _on_named_schema(name: str, *, is_needed: bool) -> Right:
    """USAGE on a schema, mostly TimescaleDB's own. PUBLIC has it unless it was revoked."""
    condition = sql.SQL(
        "SELECT pg_catalog.has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = {}"
    ).format(sql.Literal(name))
    return Right("USAGE", f"schema {name}", condition, is_needed)


def _on_sequence(sequence: NumberSequence, right: str) -> sql.Composed:
    return _privilege("has_sequence_privilege", sequence.oid, right)


def _privilege(function: str, oid: int, right: str) -> sql.Composed:
    # By oid: to resolve a name, PostgreSQL would need USAGE on its schema.
    return sql.SQL("pg_catalog.{}({}::oid, {})").format(sql.Identifier(function), sql.Literal(oid), sql.Literal(right))


def _column_privilege(table: Table, column: str, right: str) -> sql.Composed:
    return sql.SQL("pg_catalog.has_column_privilege({}::oid, {}::text, {})").format(
        sql.Literal(table.oid), sql.Literal(column), sql.Literal(right)
    )


def _owns(schema: str, name: str) -> sql.Composed:
    return sql.SQL(
        "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}"
    ).format(sql.Literal(schema), sql.Literal(name))
