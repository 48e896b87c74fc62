"""What a login decides about a session, and a session that stays open does not notice when it changes.

With a new connection, the server decides anew whether the role may log in, and the session begins with the settings of
that moment. Neither happens with a session that was kept. So what decides about both is read after the login, and read
again before the session is used again; if anything is different, it is not used.

Two things cannot be read: the role's password, which no ordinary role may see, and whether the server is still the one
that a changed address would lead to. The first is why a session is used for a limited time after its login, and the
second why the address is looked up again (`kept.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from shared.postgres.connect import Connection, Cursor

# A version number of each row: `xmin` is another one after each change. A role's own row is readable without the
# password alone, and that view has no `xmin`.
#
# - The role: whether it may log in, until when, how often, its rights as a superuser, and its name.
# - The database: whether it takes connections, who may connect, how many, and its name.
# - ALTER ROLE ... SET and ALTER DATABASE ... SET.
# - The configuration files: those of pg_hba.conf decide about the login, and some settings only apply to new sessions.
# - The role that ALTER ROLE ... SET role names, and whether the session's role may still become that one: RESET ROLE
#   finds it by its oid, a login by its name.
# - The roles that it is a member of, by any number of steps: a line of pg_hba.conf may be for the members of one.
# - The extensions: the library of an old version of TimescaleDB stays loaded.
#
# A session is not kept at all where something happens at a login that a kept session would not have: an event trigger
# ON LOGIN (PostgreSQL 17), or the extension login_hook; nor where more than PostgreSQL's own state may be left in it,
# which DISCARD ALL does not know: that of another procedural language (`GD` of PL/Python, `%_SHARED` of PL/Perl), open
# connections of dblink and of foreign data wrappers (timescaledb_fdw is of TimescaleDB's own data nodes), and what some
# extensions keep: their variables, the lines of `dbms_output`, the role of set_user, a time for the rows of all tables.
# A session's origin of replication stays, too, and only a superuser may ask whether it has one.
_LOGIN = sql.SQL(
    "SELECT pg_catalog.pg_backend_pid(),"
    " NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtevent = 'login' AND evtenabled <> 'D')"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql'))"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper"
    "  WHERE fdwname NOT IN ('file_fdw', 'timescaledb_fdw'))"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_origin)"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension"
    "  WHERE extname IN ('login_hook', 'orafce', 'pg_variables', 'session_variable', 'set_user',"
    "   'temporal_tables')),"
    " pg_catalog.concat_ws(E'\\n', r::text, current_user, d.xmin,"
    "  pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'), pg_catalog.pg_has_role(r.oid, current_user, {use}),"
    "  coalesce(r.rolvaliduntil > pg_catalog.now(), true), pg_catalog.pg_conf_load_time(),"
    "  ARRAY(SELECT s.xmin FROM pg_catalog.pg_db_role_setting s"
    "   WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, r.oid) ORDER BY s.setdatabase, s.setrole),"
    "  ARRAY(WITH RECURSIVE held(role) AS (SELECT r.oid UNION"
    "    SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN held ON m.member = held.role)"
    "   SELECT role FROM held ORDER BY role),"
    "  ARRAY(SELECT pg_catalog.concat(e.oid, '/', e.xmin) FROM pg_catalog.pg_extension e ORDER BY e.oid))"
    " FROM pg_catalog.pg_roles r CROSS JOIN pg_catalog.pg_database d"
    " WHERE r.rolname = session_user AND d.datname = pg_catalog.current_database()"
)

# GRANT ... WITH SET FALSE
_FIRST_WITH_SET = 160000


@dataclass(frozen=True)
class Login:
    """What a login found.

    Attributes:
        backend_pid: the process of the server.
        may_be_kept: whether another login would have no more in its session than a kept one.
        found: all that decided about it.
    """

    backend_pid: int
    may_be_kept: bool
    found: str


def login_query(connection: Connection) -> sql.Composed:
    """Write the query whose row `read_login` reads. It runs in a session that is as a new one."""
    use = "SET" if connection.server_version >= _FIRST_WITH_SET else "MEMBER"
    return _LOGIN.format(use=sql.Literal(use))


def read_login(cursor: Cursor) -> Login | None:
    """Read the row of `login_query`; None if there is none: the role is gone."""
    row = cursor.fetchone()
    return None if row is None else Login(*row)
