"""Finds the SQLSTATE of a refused connection, and returns our error for it.

libpq does not report the SQLSTATE of a refused connection: psycopg2's `OperationalError` has no `pgcode` then, and
the message is in the server's language. But libpq can write the SQLSTATE instead of the message
(`PQsetErrorVerbosity` with `PQERRORS_SQLSTATE`) if that is set before it connects. So after a refusal, this module
connects once more in that way.

psycopg2 gives access to a connection before it is complete only in its asynchronous mode. That mode holds Python's
global lock while libpq looks up a host or answers a challenge, so a deliberately slow server could stop every other
restore of the process. So the second attempt calls libpq by ctypes. The functions:
https://www.postgresql.org/docs/current/libpq-connect.html.
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

from shared.errors import (
    ConnectionOptionRejected,
    DatabaseAccessDenied,
    DatabaseUnreachable,
    Fault,
    MissingRight,
    RestoreError,
    lacks,
)
from shared.postgres.sqlstate import error_for_sqlstate
from shared.secret import redact_from_server

# libpq-fe.h: enum PGVerbosity, PostgresPollingStatusType, ConnStatusType
_PQERRORS_SQLSTATE = 3
_POLL_FAILED, _POLL_READING, _POLL_WRITING, _POLL_OK = range(4)
_CONNECTION_BAD = 1

# "FATAL:  28P01": the severity is in the server's language, the code is not. The code ends the text.
_SQLSTATE_AT_END = re.compile(rb":\s+([0-9A-Z]{5})\s*\Z")
# The part of the text, from its end, that is searched for the code.
_LONGEST = 200

_TEXTS = ctypes.POINTER(ctypes.c_char_p)
_RECEIVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
# A server may send notices before it authenticates the client, and libpq would print them.
_IGNORE_NOTICES = _RECEIVER(lambda _argument, _result: None)


def refused_with(parameters: dict[str, Any]) -> tuple[str | None, bool]:
    """Connect once more.

    Args:
        parameters: libpq keywords and values. `connect_timeout` limits the whole attempt, in seconds.

    Returns:
        The SQLSTATE of the refusal, or None if the server gave none; and whether only a password was missing.
    """
    libpq = _load_libpq()
    named = {keyword: str(value).encode() for keyword, value in parameters.items()}
    keywords = (ctypes.c_char_p * (len(named) + 1))(*(keyword.encode() for keyword in named), None)
    values = (ctypes.c_char_p * (len(named) + 1))(*named.values(), None)
    # 0: do not expand the database name as a connection string.
    connection = libpq.PQconnectStartParams(keywords, values, 0)
    try:
        libpq.PQsetErrorVerbosity(connection, _PQERRORS_SQLSTATE)
        libpq.PQsetNoticeReceiver(connection, _IGNORE_NOTICES, None)
        if _connects(libpq, connection, time.monotonic() + float(parameters["connect_timeout"])):
            return None, False
        found = _SQLSTATE_AT_END.search(libpq.PQerrorMessage(connection)[-_LONGEST:])
        needs_password = bool(libpq.PQconnectionNeedsPassword(connection))
        return (found[1].decode() if found else None), needs_password
    finally:
        libpq.PQfinish(connection)


def _load_libpq() -> ctypes.CDLL:
    # The extension module is linked with libpq, so its handle also finds libpq's functions.
    libpq = ctypes.CDLL(_psycopg.__file__)
    handle, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("PQconnectStartParams", handle, (_TEXTS, _TEXTS, number)),
        ("PQsetErrorVerbosity", number, (handle, number)),
        ("PQsetNoticeReceiver", handle, (handle, _RECEIVER, handle)),
        ("PQstatus", number, (handle,)),
        ("PQsocket", number, (handle,)),
        ("PQconnectPoll", number, (handle,)),
        ("PQerrorMessage", ctypes.c_char_p, (handle,)),
        ("PQconnectionNeedsPassword", number, (handle,)),
        ("PQfinish", None, (handle,)),
    ):
        function = getattr(libpq, name)
        function.restype, function.argtypes = result, arguments
    return libpq


def _connects(libpq: ctypes.CDLL, connection: int, deadline: float) -> bool:
    """Run libpq until it is connected or has failed; return whether it is connected."""
    if connection is None or libpq.PQstatus(connection) == _CONNECTION_BAD:
        return False
    state = _POLL_WRITING
    while state in (_POLL_READING, _POLL_WRITING):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        with closing(select.epoll()) as waiting:
            waiting.register(libpq.PQsocket(connection), select.EPOLLIN if state == _POLL_READING else select.EPOLLOUT)
            waiting.poll(remaining)
        state = libpq.PQconnectPoll(connection)
    return bool(state == _POLL_OK)


# Class 22 and 42704: a parameter (`options=-c ...`) that does not exist, or a value that it does not accept.
_BAD_SETTING = ("22", "42704")

# insufficient_privilege: CONNECT on the database (CheckMyDatabase in src/backend/utils/init/postinit.c).
_NO_RIGHT = "42501"


def connect_error(parameters: dict[str, Any], refusal: psycopg2.Error) -> RestoreError:
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
            hint="give pg.password; the setting PGPASSWORD is sent only to PGHOST at PGPORT and to PG_ALLOWED_HOSTS",
        )
    text = redact_from_server(" ".join(str(refusal).split()))
    if sqlstate is None:
        return DatabaseUnreachable(f"no connection to the database server: {text}")
    if sqlstate.startswith(_BAD_SETTING):
        return ConnectionOptionRejected(
            "the server does not accept a setting of the connection",
            details=[Fault("ConnectionOptionRejected", "see the SQLSTATE", info=(("sqlstate", sqlstate),))],
        )
    if sqlstate == _NO_RIGHT:
        error = lacks([MissingRight(parameters.get("user", ""), "CONNECT", f"database {parameters['dbname']}")])
        if parameters.get("options"):
            # The server checks CONNECT first, and then whether the role may change the setting.
            error.message += ", or may not change a setting of options"
        return error
    return error_for_sqlstate(sqlstate, f"the server refused the connection: {text}")
