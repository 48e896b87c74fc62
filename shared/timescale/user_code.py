"""Decides whether an expression, a type or a cast runs a user's own code or changes something.

A function in C, of PostgreSQL or of an extension, that is not VOLATILE changes nothing. One in SQL or PL/pgSQL may do
anything, whatever its owner declares: write through dblink, take a number of a sequence, signal a session.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from shared.postgres.connect import Cursor

# By the numbers that initdb gives (src/include/catalog/pg_language.dat): internal and c.
_IN_C = sql.SQL("p.prolang IN (12, 13)")

# A stored expression is a tree of nodes (src/include/nodes/primnodes.h), and the fields that name a function are these.
# COERCETODOMAIN asks the constraints of a domain.
_IS_HARMLESS = sql.SQL(
    "({tree}::text !~ '\\{{COERCETODOMAIN' AND NOT EXISTS (SELECT FROM"
    " pg_catalog.regexp_matches({tree}::text, ':(?:func|opfunc|hashfunc|negfunc)id ([1-9][0-9]*)', 'g') f(found)"
    " LEFT JOIN pg_catalog.pg_proc p ON p.oid = f.found[1]::oid"
    " WHERE ({in_c} AND p.provolatile <> 'v') IS NOT TRUE))"
)


def is_harmless(alias: str, column: str) -> sql.Composed:
    """Write the condition that a stored expression (`pg_node_tree`) runs no user code and changes nothing."""
    return _IS_HARMLESS.format(tree=sql.Identifier(alias, column), in_c=_IN_C)


# The planner reads all expressions of a relation's indexes and constraints, and the bodies of their functions in SQL.
_READS_HARMLESSLY = sql.SQL(
    "(NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = {relation} AND k.contype = 'c'"
    "  AND NOT {check})"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = {relation}"
    "  AND NOT (coalesce({expressions}, true) AND coalesce({predicate}, true))))"
)


def reads_harmlessly(relation: sql.Identifier) -> sql.Composed:
    """Write the condition that a query of a relation (the column that holds its oid) runs no user code.

    Policies are not considered.
    """
    return _READS_HARMLESSLY.format(
        relation=relation,
        check=is_harmless("k", "conbin"),
        expressions=is_harmless("i", "indexprs"),
        predicate=is_harmless("i", "indpred"),
    )


# The support functions of the operator classes of an index `i` compare values, and may be a user's.
HAS_HARMLESS_CLASSES = sql.SQL(
    "NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indclass) u(class) JOIN pg_catalog.pg_opclass o ON o.oid = u.class"
    " JOIN pg_catalog.pg_amproc m ON m.amprocfamily = o.opcfamily AND m.amproclefttype = o.opcintype"
    " JOIN pg_catalog.pg_proc p ON p.oid = m.amproc WHERE NOT {})"
).format(_IN_C)

# So may be the operators of an exclusion constraint `k`.
HAS_HARMLESS_OPERATORS = sql.SQL(
    "NOT EXISTS (SELECT FROM pg_catalog.unnest(k.conexclop) u(operator)"
    " JOIN pg_catalog.pg_operator o ON o.oid = u.operator"
    " JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode WHERE NOT {})"
).format(_IN_C)

# A domain's constraints are checked for each value that is read into it, also inside arrays, rows and ranges.
_DOMAINS_WITH_CODE = sql.SQL(
    "WITH RECURSIVE parts(name, type) AS ("
    " SELECT attname::text, atttypid FROM pg_catalog.pg_attribute"
    "  WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
    " UNION SELECT parts.name, x.type FROM parts JOIN pg_catalog.pg_type t ON t.oid = parts.type CROSS JOIN LATERAL ("
    "  SELECT t.typbasetype WHERE t.typtype = 'd' UNION ALL SELECT t.typelem WHERE t.typelem <> 0"
    "  UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a"
    "   WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped"
    "  UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)"
    " ) x(type))"
    " SELECT DISTINCT parts.name FROM parts JOIN pg_catalog.pg_constraint k ON k.contypid = parts.type"
    " WHERE k.contype = 'c' AND NOT {}"
).format(is_harmless("k", "conbin"))


def columns_that_run_code(cursor: Cursor, oid: int) -> frozenset[str]:
    """Name the columns of a table whose type runs a user's code to read a value.

    Args:
        cursor: in any transaction.
        oid: the table.
    """
    cursor.execute(_DOMAINS_WITH_CODE, (oid,))
    return frozenset(name for (name,) in cursor.fetchall())


# A cast without a function is by the types' own input and output, or takes the bytes as they are.
_CASTS_WITH_CODE = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute s JOIN pg_catalog.pg_attribute t ON t.attname = s.attname"
    " JOIN pg_catalog.pg_cast c ON c.castsource = s.atttypid AND c.casttarget = t.atttypid"
    " JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc"
    " WHERE s.attrelid = %s AND t.attrelid = %s AND s.attname = ANY (%s) AND NOT {})"
).format(_IN_C)


def runs_code_to_cast(cursor: Cursor, source: int, target: int, names: Sequence[str]) -> bool:
    """Whether an assignment from one table's columns to those of the same name of another runs a user's code."""
    cursor.execute(_CASTS_WITH_CODE, (source, target, list(names)))
    has_casts = cursor.fetchone() == (True,)
    asked = frozenset(names)
    return has_casts or bool((columns_that_run_code(cursor, source) - columns_that_run_code(cursor, target)) & asked)
