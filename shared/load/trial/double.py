"""A temporary double of a table: it refuses the rows that the table refuses, and has no effect outside itself.

The double has the table's types, NOT NULL, CHECK constraints, indexes, defaults and generated columns. It has no
triggers, rules, foreign keys, policies, chunks or partitions. Whatever runs a user's code, or changes something that no
rollback takes back, such as a sequence, is taken out of it before the first row comes. What is taken out is noted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from psycopg2 import sql

from shared.model.results import NotChecked
from shared.postgres.connect import Cursor
from shared.postgres.search_path import by_users_path
from shared.postgres.trusted_sql import trusted_sql
from shared.timescale.required import required_columns
from shared.timescale.table import Table
from shared.timescale.user_code import HAS_HARMLESS_CLASSES, HAS_HARMLESS_OPERATORS, columns_that_run_code, is_harmless

# 1574 is nextval(regclass) (src/include/catalog/pg_proc.dat). A domain may bring a default of its own.
_COLUMNS = sql.SQL(
    "SELECT a.attname::text, a.attnotnull, a.attgenerated <> '', a.attgenerated = 's',"
    " d.oid IS NOT NULL OR a.attidentity <> '' OR t.typdefaultbin IS NOT NULL, t.typtype = 'd',"
    " a.attidentity <> '' OR coalesce(coalesce(d.adbin, t.typdefaultbin)::text LIKE '%%:funcid 1574 %%', false),"
    " CASE WHEN a.attidentity <> '' THEN false WHEN d.oid IS NOT NULL THEN {own}"
    "  WHEN t.typdefaultbin IS NOT NULL THEN {of_type} ELSE true END"
    " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
).format(own=is_harmless("d", "adbin"), of_type=is_harmless("t", "typdefaultbin"))

_CHECKS = sql.SQL(
    "SELECT k.conname::text, {harmless}, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a"
    "  WHERE a.attrelid = k.conrelid AND (a.attnum = ANY (k.conkey) OR 0 = ANY (k.conkey)))"
    " FROM pg_catalog.pg_constraint k WHERE k.conrelid = %s AND k.contype = 'c' ORDER BY k.conname"
).format(harmless=is_harmless("k", "conbin"))

_INDEXES = sql.SQL(
    "SELECT c.relname::text, k.conname::text, i.indisunique OR i.indisexclusion,"
    " coalesce({expressions}, true) AND coalesce({predicate}, true) AND {classes} AND {operators},"
    " ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum > 0"
    "  AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_catalog.pg_depend d"
    "   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid"
    "   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)))"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
    " LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid"
    "  AND k.contype IN ('p', 'u', 'x')"
    " WHERE i.indrelid = %s ORDER BY c.relname"
).format(
    expressions=is_harmless("i", "indexprs"),
    predicate=is_harmless("i", "indpred"),
    classes=HAS_HARMLESS_CLASSES,
    operators=HAS_HARMLESS_OPERATORS,
)


@dataclass(frozen=True)
class Double:
    """A temporary double of a table.

    Attributes:
        identifier: its name.
        unknown: columns that hold another value in it than the table would: their default or type runs code.
        left_out: what was taken out of it.
    """

    identifier: sql.Identifier
    unknown: frozenset[str]
    left_out: tuple[NotChecked, ...]


@dataclass(frozen=True)
class _Column:
    """A column of the table.

    Attributes:
        name: its name.
        is_not_null: whether it must not be null.
        is_generated: whether PostgreSQL computes it.
        is_stored: whether it is generated and stored.
        has_default: whether it has a default, or a sequence or its domain gives it one.
        is_domain: whether its type is a domain.
        is_numbered: whether a sequence gives its default.
        is_harmless: whether what gives its value, if the file does not, runs no code and changes nothing.
    """

    name: str
    is_not_null: bool
    is_generated: bool
    is_stored: bool
    has_default: bool
    is_domain: bool
    is_numbered: bool
    is_harmless: bool


def make_double(
    cursor: Cursor,
    table: Table,
    name: str,
    given: Collection[str],
    *,
    is_staging: bool,
    may_default: bool,
    others: Collection[str] = (),
) -> Double:
    """Create the double of a table.

    Args:
        cursor: in a transaction that is rolled back.
        table: the table. The role may read it.
        name: of the double.
        given: the table's columns that the file has.
        is_staging: whether it stands for a staging table modeled on the table: without indexes, and with plain columns
            for the generated ones.
        may_default: whether a value of the file may stand for the column's default.
        others: columns whose values are not known for another reason.
    """
    identifier = sql.Identifier("pg_temp", name)
    parts = "INCLUDING CONSTRAINTS INCLUDING DEFAULTS"
    more = sql.SQL("" if is_staging else " INCLUDING INDEXES INCLUDING GENERATED")
    create = sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} {}{})")
    cursor.execute(by_users_path(create.format(identifier, table.identifier, sql.SQL(parts), more)))
    cursor.execute("SELECT %s::regclass::oid", (identifier.as_string(cursor),))
    ((oid,),) = cursor.fetchall()
    cursor.execute(_COLUMNS, (table.oid,))
    columns = [_Column(*row) for row in cursor.fetchall()]
    with_code = columns_that_run_code(cursor, table.oid)
    marked = [
        column
        for column in columns
        if may_default and column.name in given and column.has_default and not column.is_generated
    ]
    # A domain may refuse the null that stands for its default here.
    with_code |= {column.name for column in marked if column.is_domain and not column.is_harmless}
    required = required_columns(cursor, table.oid, [column.name for column in columns if column.name not in given])
    unknown = _unknown(columns, given, {*with_code, *required, *others}, may_default=may_default, is_staging=is_staging)
    numbered = {column.name for column in columns if column.is_numbered}
    left_out = [
        *_take_out_checks(cursor, identifier, oid, unknown),
        *_take_out_indexes(cursor, identifier, oid, unknown, numbered),
        *_take_out_values(cursor, identifier, columns, with_code, unknown, is_staging=is_staging),
    ]
    taken_out = [column.name for column in marked if not column.is_harmless or column.name in with_code]
    _let_marker_stand(cursor, identifier, table, taken_out, with_code)
    return Double(identifier, unknown, tuple(left_out))


def drop_keys(cursor: Cursor, double: Double) -> None:
    """Drop the unique indexes and exclusions of a double, so that it takes rows in conflict."""
    cursor.execute("SELECT %s::regclass::oid", (double.identifier.as_string(cursor),))
    ((oid,),) = cursor.fetchall()
    cursor.execute(_INDEXES, (oid,))
    for name, constraint, is_key, _, _ in cursor.fetchall():
        if is_key:
            _drop_index(cursor, double.identifier, name, constraint)


def _unknown(
    columns: Sequence[_Column],
    given: Collection[str],
    others: Collection[str],
    *,
    may_default: bool,
    is_staging: bool,
) -> frozenset[str]:
    """Name the columns that hold another value in the double; `others` are some that are known to."""
    unknown = set(others)
    for column in columns:
        takes_default = column.name not in given or (may_default and not column.is_generated)
        if (takes_default and not column.is_harmless) or (
            is_staging and column.is_generated and column.name not in given
        ):
            unknown.add(column.name)
    if unknown and not is_staging:
        # They may be computed from one of these.
        unknown |= {column.name for column in columns if column.is_generated}
    return frozenset(unknown)


def _take_out_checks(
    cursor: Cursor, identifier: sql.Identifier, oid: int, unknown: frozenset[str]
) -> Iterator[NotChecked]:
    cursor.execute(_CHECKS, (oid,))
    for name, is_computed, columns in cursor.fetchall():
        if is_computed and not unknown & set(columns):
            continue
        cursor.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(identifier, sql.Identifier(name)))
        yield NotChecked("values", f'the constraint "{name}" {_why(is_computed)}')


def _take_out_indexes(
    cursor: Cursor, identifier: sql.Identifier, oid: int, unknown: frozenset[str], numbered: Collection[str]
) -> Iterator[NotChecked]:
    cursor.execute(_INDEXES, (oid,))
    for name, constraint, is_key, is_computed, columns in cursor.fetchall():
        involved = unknown & set(columns)
        if is_computed and not involved:
            continue
        _drop_index(cursor, identifier, name, constraint)
        # A sequence gives each number once.
        if not is_computed or (is_key and not involved & set(numbered)):
            yield NotChecked("duplicates" if is_key else "values", f'the index "{name}" {_why(is_computed)}')


def _drop_index(cursor: Cursor, identifier: sql.Identifier, name: str, constraint: str | None) -> None:
    if constraint is None:
        cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("pg_temp", name)))
    else:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        cursor.execute(drop.format(identifier, sql.Identifier(constraint)))


def _why(is_computed: bool) -> str:  # noqa: FBT001
    return "covers a column whose value is not known" if is_computed else "runs code of its own"


def _take_out_values(
    cursor: Cursor,
    identifier: sql.Identifier,
    columns: Sequence[_Column],
    with_code: Collection[str],
    unknown: Collection[str],
    *,
    is_staging: bool,
) -> Iterator[NotChecked]:
    """Take out what would compute a value, or read it, and let the columns be null whose value is not known."""
    changes: list[sql.Composable] = []
    for column in columns:
        name = sql.Identifier(column.name)
        if column.is_not_null and (column.name in unknown or (is_staging and column.is_generated)):
            changes.append(sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(name))
        if column.is_stored and column.name in unknown and not is_staging:
            changes.append(sql.SQL("ALTER COLUMN {} DROP EXPRESSION").format(name))
        elif not column.is_generated and (column.name in with_code or not column.is_harmless):
            # Also instead of a default that a domain brings.
            changes.append(sql.SQL("ALTER COLUMN {} SET DEFAULT NULL").format(name))
        if column.name in with_code:
            yield NotChecked("values", f'the type of "{column.name}" {_why(is_computed=False)}')
        elif not column.is_harmless and not column.is_numbered and column.name in unknown:
            yield NotChecked("values", f'the default of "{column.name}" {_why(is_computed=False)}')
    changes += [sql.SQL("ALTER COLUMN {} TYPE text").format(sql.Identifier(name)) for name in sorted(with_code)]
    for each in changes:
        cursor.execute(sql.SQL("ALTER TABLE {} {}").format(identifier, each))


def _let_marker_stand(
    cursor: Cursor, identifier: sql.Identifier, table: Table, columns: Collection[str], with_code: Collection[str]
) -> None:
    """Give columns whose default was taken out another one, since COPY takes no marker for a column without."""
    types = {column.name: column.type_sql for column in table.columns}
    for name in columns:
        type_ = trusted_sql("text" if name in with_code else types[name])  # format_type wrote it
        # Null, but not written as a null, which would not be a default.
        default = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT CAST(nullif('', '') AS {})")
        cursor.execute(default.format(identifier, sql.Identifier(name), type_))
