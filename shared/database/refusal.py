"""Why a connection was refused, known by SQLSTATE.

libpq keeps the SQLSTATE of a refused connection to itself: psycopg2's `OperationalError` has no `pgcode` then, and
the message is in the server's language. libpq can be told to write the SQLSTATE in place of the message
(`PQsetErrorVerbosity` with `PQERRORS_SQLSTATE`), before the connection is made; psycopg2 gives the pointer that
this takes (`connection.pgconn_ptr`, made for ctypes). So, after a refusal, the same connection is tried once more in
this way.
"""

from __future__ import annotations

import ctypes
import re
import select
import time
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import _psycopg
from psycopg2.extensions import POLL_OK, POLL_READ

from shared.database.missing_right import MissingRight, lacks
from shared.database.sqlstate import error_for_sqlstate
from shared.errors import ConnectionOptionRejected, DatabaseAccessDenied, DatabaseUnreachable, Fault, RestoreError
from shared.secret import redact

# libpq-fe.h: enum PGVerbosity
_PQERRORS_SQLSTATE = 3

# "FATAL:  28P01": the severity is in the server's language, the code is not. It ends the text.
_SQLSTATE_AT_END = re.compile(r":\s+([0-9A-Z]{5})\s*\Z")


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
    sqlstate, needs_password = _refused_with(parameters)
    if needs_password:
        return DatabaseAccessDenied(
            "the server asks for a password, and none was given",
            hint="give pg.password; the setting PGPASSWORD is for PGHOST at PGPORT, and for PG_ALLOWED_HOSTS, alone",
        )
    text = redact(" ".join(str(refusal).split()))
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


def _refused_with(parameters: dict[str, Any]) -> tuple[str | None, bool]:
    """Connect once more; return the SQLSTATE of the refusal, and whether only a password was missing."""
    connection = None
    try:
        connection = psycopg2.connect(**parameters, async_=1)
        _write_sqlstate_only(connection.pgconn_ptr)
        _finish_connecting(connection, timeout_seconds=parameters["connect_timeout"])
    except psycopg2.Error as exc:
        found = _SQLSTATE_AT_END.search(str(exc))
        needs_password = connection is not None and connection.info.needs_password
        return (found.group(1) if found else None), needs_password
    else:
        return None, False
    finally:
        if connection is not None:
            connection.close()


def _write_sqlstate_only(pgconn: int) -> None:
    # The extension module is linked with libpq, so that its handle finds libpq's functions too.
    libpq = ctypes.PyDLL(_psycopg.__file__)
    libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
    libpq.PQsetErrorVerbosity.restype = ctypes.c_int
    libpq.PQsetErrorVerbosity(pgconn, _PQERRORS_SQLSTATE)


def _finish_connecting(connection: psycopg2.extensions.connection, *, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while (state := connection.poll()) != POLL_OK:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise psycopg2.OperationalError("timeout")
        with closing(select.epoll()) as waiting:
            waiting.register(connection.fileno(), select.EPOLLIN if state == POLL_READ else select.EPOLLOUT)
            waiting.poll(remaining)
