"""A schema with an operator, function, type or view for every name that the product's statements use. Each one raises.

Anybody who may create in a schema of a role's `search_path` can make these. What they are called is read from the
product's sources. Casts are left out: to create one takes a type of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

from tests.integration.fix_database import Database
from tools.config import REPOSITORY

DECOYS = "decoys"
MESSAGE = "a decoy was called"

# What the statements compare and compute with, beside literals of no type yet.
_LISTED_TYPES = """
    "char", aclitem[], bigint, boolean, bytea, cid, date, double precision, int2vector, integer, integer[], interval,
    json, jsonb, name, name[], numeric, oid, oid[], oidvector, regclass, pg_catalog.pg_node_tree, real, regnamespace,
    regproc, regprocedure, regtype, smallint, smallint[], text, text[], tid, timestamp with time zone,
    timestamp without time zone, uuid, character varying, xid, xid8
"""
_TYPES = [type_.strip() for type_ in _LISTED_TYPES.split(",")]
_OPERATORS = "= <> < <= > >= ~ !~ ~~ !~~ || -> ->> + - * / % & | << >>"
# SQL's own names of types are not looked up.
_NAMED_TYPES = """
    bytea date float8 int2 int4 int8 json jsonb name numeric oid regclass regprocedure regtype text tid timestamp
    timestamptz uuid xid xid8
"""
_FEW_TYPES = ("bigint", "integer", "name", "oid", "text", "timestamp with time zone")
# Whole rows of these become JSON.
_ROWS = ("pg_attribute", "pg_class", "pg_constraint", "pg_index", "pg_proc", "pg_trigger")


def _words() -> set[str]:
    """All words of the product's sources."""
    texts = [path.read_text() for path in (REPOSITORY / "shared").rglob("*.py")]
    return {word for text in texts for word in re.findall(r"[a-z_][a-z0-9_]*", text)}


def make_decoys(database: Database) -> str:
    """Make them, once for each database, and return the name of their schema."""
    if database.value("SELECT count(*) FROM pg_namespace WHERE nspname = %s", DECOYS):
        return DECOYS
    words = sorted(_words())
    database.execute(f"CREATE SCHEMA {DECOYS}")
    database.execute(f"GRANT USAGE ON SCHEMA {DECOYS} TO PUBLIC")
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET client_min_messages = error; SET check_function_bodies = off; SET search_path = pg_catalog")
        _run(cursor, [_raiser(f"{DECOYS}.raise", ("anyelement",)), *_functions(cursor, words), *_operators()])
        _run(cursor, [*_views(cursor, words), *_domains()])
    connection.close()
    return DECOYS


def owner(database: Database, path: str) -> dict[str, Any]:
    """Make a role that owns the table `t`, with a `search_path`."""
    pg = database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT USAGE, CREATE ON SCHEMA _timescaledb_internal")
    database.execute(f"ALTER ROLE {pg['user']} SET search_path = {path}")
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {pg['user']}")
    return pg


def path_with_decoys(database: Database, place: str) -> str:
    """PostgreSQL looks into `pg_catalog` first, unless the path says otherwise."""
    decoys = make_decoys(database)
    return f"{decoys}, pg_catalog, public" if place == "before the catalogue" else f"{decoys}, public"


def _run(cursor: Cursor, statements: Iterable[str]) -> None:
    cursor.execute("; ".join(statements))


def _raiser(name: str, types: tuple[str, ...]) -> str:
    body = f"BEGIN RAISE EXCEPTION '{MESSAGE}: {name.replace(chr(34), '')}({', '.join(types)})'; END"
    return f"CREATE FUNCTION {name}({', '.join(types)}) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $d${body}$d$"


def _operators() -> list[str]:
    """Every binary operator of the catalogue's names in use, for every pair of types."""
    made = []
    for left in _TYPES:
        for right in _TYPES:
            made.append(_raiser(f"{DECOYS}.raise", (left, right)))
            made += [
                f"CREATE OPERATOR {DECOYS}.{name} (FUNCTION = {DECOYS}.raise, LEFTARG = {left}, RIGHTARG = {right})"
                for name in _OPERATORS.split()
            ]
    return made


def _functions(cursor: Cursor, words: list[str]) -> list[str]:
    """Every function of the catalogue that the sources name, for each type and some pairs, and without arguments."""
    cursor.execute(
        "SELECT proname, bool_or(pronargs = 0), bool_or(pronargs > 1 OR provariadic <> 0), bool_or(prokind = 'a')"
        " FROM pg_proc WHERE proname = ANY (%s) AND pronamespace = 'pg_catalog'::regnamespace"
        " AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) GROUP BY proname",
        (words,),
    )
    made = []
    for name, takes_none, takes_two, is_aggregate in cursor.fetchall():
        own = f'{DECOYS}."{name}"'
        made += [_raiser(own, (type_,)) for type_ in (*_TYPES, *_ROWS)]
        if takes_none and is_aggregate:
            made.append(f"CREATE AGGREGATE {own}(*) (SFUNC = {DECOYS}.raise, STYPE = boolean, INITCOND = true)")
        elif takes_none:
            made.append(_raiser(own, ()))
        if takes_two:
            made += [_raiser(own, (left, right)) for left in _FEW_TYPES for right in _FEW_TYPES]
    return made


def _views(cursor: Cursor, words: list[str]) -> list[str]:
    cursor.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY (%s) AND relnamespace = 'pg_catalog'::regnamespace", (words,)
    )
    return [f"CREATE VIEW {DECOYS}.{name} AS SELECT {DECOYS}.raise(true) AS oid" for (name,) in cursor.fetchall()]


def _domains() -> list[str]:
    """A type for each name of a type that is looked up."""
    return [
        f'CREATE DOMAIN {DECOYS}."{name}" AS pg_catalog."{name}" CHECK ({DECOYS}.raise(VALUE, VALUE))'
        for name in _NAMED_TYPES.split()
    ]
