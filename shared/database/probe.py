"""Tries a connection that was refused once more, and asks libpq for the SQLSTATE alone.

By ctypes, since psycopg2 hands out a connection that is under way only in its asynchronous mode, and that holds
Python's lock while libpq looks up a host or answers a challenge: a server that is slow on purpose would hold up every
other restore of the process. The functions: https://www.postgresql.org/docs/current/libpq-connect.html.
"""

from __future__ import annotations

import ctypes
import re
import select
import time
from contextlib import closing
from typing import Any

from psycopg2 import _psycopg

# libpq-fe.h: enum PGVerbosity, PostgresPollingStatusType, ConnStatusType
_PQERRORS_SQLSTATE = 3
_POLL_FAILED, _POLL_READING, _POLL_WRITING, _POLL_OK = range(4)
_CONNECTION_BAD = 1

# "FATAL:  28P01": the severity is in the server's language, the code is not. It ends the text.
_SQLSTATE_AT_END = re.compile(rb":\s+([0-9A-Z]{5})\s*\Z")
# Longer ones are no such text.
_LONGEST = 200

_TEXTS = ctypes.POINTER(ctypes.c_char_p)
_RECEIVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
# A server may send notices before it lets anybody in, and libpq would print them.
_IGNORE_NOTICES = _RECEIVER(lambda _argument, _result: None)


def refused_with(parameters: dict[str, Any]) -> tuple[str | None, bool]:
    """Connect once more.

    Args:
        parameters: libpq keywords and values; `connect_timeout` is how long it may take in all, in seconds.

    Returns:
        The SQLSTATE of the refusal, where the server gave one, and whether only a password was missing.
    """
    libpq = _load_libpq()
    named = {keyword: str(value).encode() for keyword, value in parameters.items()}
    keywords = (ctypes.c_char_p * (len(named) + 1))(*(keyword.encode() for keyword in named), None)
    values = (ctypes.c_char_p * (len(named) + 1))(*named.values(), None)
    # 0: a database's name is a name, and no connection string.
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
    # The extension module is linked with libpq, so that its handle finds libpq's functions too.
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
    """Let libpq go on until it has a connection, or none."""
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
