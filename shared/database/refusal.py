"""Why a connection was refused, known by SQLSTATE.

libpq keeps the SQLSTATE of a refused connection to itself: psycopg2's `OperationalError` has no `pgcode` then, and
the message is in the server's language. libpq can be told to write the SQLSTATE in place of the message
(`PQsetErrorVerbosity` with `PQERRORS_SQLSTATE`), before the connection is made. So, after a refusal, the same
connection is tried once more in this way, by `probe.py`.
"""

from __future__ import annotations

from typing import Any

import psycopg2

from shared.database.missing_right import MissingRight, lacks
from shared.database.probe import refused_with
from shared.database.sqlstate import error_for_sqlstate
from shared.errors import ConnectionOptionRejected, DatabaseAccessDenied, DatabaseUnreachable, Fault, RestoreError
from shared.secret import redact_from_server

# Class 22 and 42704: a parameter (`options=-c ...`) that does not exist, or a value that it does not take.
_BAD_SETTING = ("22", "42704")

# insufficient_privilege: CONNECT on the database (CheckMyDatabase in src/backend/utils/init/postinit.c).
_NO_RIGHT = "42501"


def refusal_to_error(parameters: dict[str, Any], refusal: psycopg2.Error) -> RestoreError:
    """Find out why a connection was refused.

    Args:
        parameters: libpq keywords and values, as they were given to `psycopg2.connect`.
        refusal: what psycopg2 raised. libpq never writes the password into it.

    Returns:
        The error to raise.
    """
    sqlstate, needs_password = refused_with(parameters)
    if needs_password:
        return DatabaseAccessDenied(
            "the server asks for a password, and none was given",
            hint="give pg.password; the setting PGPASSWORD is for PGHOST at PGPORT, and for PG_ALLOWED_HOSTS, alone",
        )
    text = redact_from_server(" ".join(str(refusal).split()))
    if sqlstate is None:
        return DatabaseUnreachable(f"no connection to the database server: {text}")
    if sqlstate.startswith(_BAD_SETTING):
        return ConnectionOptionRejected(
            "the server does not take a setting of the connection",
            details=[Fault("ConnectionOptionRejected", "see the SQLSTATE", info=(("sqlstate", sqlstate),))],
        )
    if sqlstate == _NO_RIGHT:
        error = lacks([MissingRight(parameters.get("user", ""), "CONNECT", f"database {parameters['dbname']}")])
        if parameters.get("options"):
            # The server asks for CONNECT first, and then whether the role may change such a setting.
            error.message += ", or may not change a setting of options"
        return error
    return error_for_sqlstate(sqlstate, f"the server refused the connection: {text}")
