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
import errno
import os
import re
import select
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from shared.errors import (
    ConnectionOptionRejected,
    DatabaseAccessDenied,
    DatabaseUnreachable,
    Fault,
    MissingRight,
    RestoreError,
    lacks,
)
from shared.postgres.libpq import IGNORE_NOTICES, PQERRORS_SQLSTATE, load_libpq
from shared.postgres.sqlstate import error_for_sqlstate, name_of
from shared.secret import redact_from_server

# libpq-fe.h: enum PostgresPollingStatusType, ConnStatusType
_POLL_FAILED, _POLL_READING, _POLL_WRITING, _POLL_OK = range(4)
_CONNECTION_BAD = 1
# CONNECTION_STARTED, _MADE, _SSL_STARTUP, _NEEDED, _GSS_STARTUP, _ALLOCATED: libpq reads no text of the server yet.
_STATES_WITHOUT_WORDS = frozenset({2, 3, 7, 8, 11, 14})

# "FATAL:  28P01": the severity is in the server's language, the code is not. The code ends the text.
_SQLSTATE_AT_END = re.compile(rb":\s+([0-9A-Z]{5})\s*\Z")
# The part of the text, from its end, that is searched for the code.
_LONGEST = 200

# Even so, libpq repeats words of the server: an error in the form of protocol 2, which PostgreSQL itself sends where it
# cannot start a process; what it says in a SCRAM exchange (`e=...`); the extensions of the protocol that it does not
# know; a code that is not a SQLSTATE (17.5). Once the server has spoken, only these reasons are shown: none holds any
# text.
_NETWORK = "|".join(re.escape(os.strerror(code)) for code in errno.errorcode)
_METHOD = (
    "requested (?:GSSAPI|SASL|SSPI|an unknown) authentication(?: type)?|requested a (?:cleartext|hashed) password"
    "|did not complete authentication"
)
_BINDING = (
    "not supported by server's authentication request|SSL not in use"
    "|server authenticated client without channel binding"
    "|server did not offer an authentication method that supports channel binding"
)
_REASONS_WITHOUT_WORDS = re.compile(
    "|".join(
        (
            "server closed the connection unexpectedly",
            "This probably means the server terminated abnormally",
            r"before or while processing the request\.",
            "SSL connection has been closed unexpectedly",
            "SSL SYSCALL error: EOF detected",
            f"(?:(?:could not (?:receive data from|send data to) server|SSL SYSCALL error): )?(?:{_NETWORK})",
            r"Is the server running on that host and accepting TCP/IP connections\?",
            "timeout expired",
            "expected authentication request from server, but received .",
            "received invalid (?:authentication request|error message|protocol negotiation message)",
            f'authentication method requirement "[a-z0-9!,-]*" failed: server (?:{_METHOD})',
            f"channel binding (?:is )?required,? but (?:{_BINDING})",
            "authentication method [0-9]+ not supported",
            "none of the server's SASL authentication mechanisms are supported",
            'lost synchronization with server: got message type ".", length -?[0-9]+',
            "session is (?:not )?read-only|server is (?:not )?in hot standby mode",
        )
    )
)
_PLACE = re.compile(
    r'connection to server (?:at|on socket) "(?P<host>[^"]*)"(?: \([0-9A-Fa-f.:]+\))?(?:, port [0-9]+)? failed: ?'
)
_NOT_SHOWN = "the reason is not shown, since it may hold words of the server"


@dataclass(frozen=True)
class Refusal:
    """What the second attempt showed.

    Attributes:
        sqlstate: with which the server refused it; None if the server gave none.
        needs_password: whether only a password was missing.
        is_connected: whether the server took this attempt.
        text: why it failed, in the words of libpq. Of a server's own words it holds none.
    """

    sqlstate: str | None
    needs_password: bool = False
    is_connected: bool = False
    text: str = ""


def refused_with(parameters: dict[str, Any]) -> Refusal:
    """Connect once more.

    Args:
        parameters: libpq keywords and values. `connect_timeout` limits the whole attempt, in seconds.
    """
    libpq = load_libpq()
    named = {keyword: str(value).encode() for keyword, value in parameters.items()}
    keywords = (ctypes.c_char_p * (len(named) + 1))(*(keyword.encode() for keyword in named), None)
    values = (ctypes.c_char_p * (len(named) + 1))(*named.values(), None)
    # 0: do not expand the database name as a connection string.
    connection = libpq.PQconnectStartParams(keywords, values, 0)
    try:
        libpq.PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE)
        # A server may send notices before it authenticates the client, and libpq would print them.
        libpq.PQsetNoticeReceiver(connection, IGNORE_NOTICES, None)
        states: set[int] = set()
        if _connects(libpq, connection, time.monotonic() + float(parameters["connect_timeout"]), states):
            return Refusal(None, is_connected=True)
        said = libpq.PQerrorMessage(connection)
        found = _SQLSTATE_AT_END.search(said[-_LONGEST:])
        # One line for each attempt: with TLS and without, and for each address of a host.
        lines = [" ".join(line.split()) for line in said.decode("utf-8", "replace").splitlines()]
        if states - _STATES_WITHOUT_WORDS:
            lines = list(_without_words(lines, frozenset(str(parameters.get("host", "")).split(","))))
        return Refusal(
            found[1].decode() if found else None,
            needs_password=bool(libpq.PQconnectionNeedsPassword(connection)),
            text=redact_from_server("; ".join(filter(None, dict.fromkeys(lines)))),
        )
    finally:
        libpq.PQfinish(connection)


def _without_words(lines: Iterable[str], hosts: frozenset[str]) -> Iterator[str]:
    """Leave out of libpq's lines what may be words of the server."""
    for line in lines:
        place = _PLACE.match(line)
        shown = line[: place.end()] if place is not None and place["host"] in hosts else ""
        reason = line[len(shown) :]
        yield line if not reason or _REASONS_WITHOUT_WORDS.fullmatch(reason) else shown + _NOT_SHOWN


def _connects(libpq: ctypes.CDLL, connection: int, deadline: float, states: set[int]) -> bool:
    """Run libpq until it is connected or has failed; return whether it is connected. The states are added."""
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
        states.add(libpq.PQstatus(connection))
        state = libpq.PQconnectPoll(connection)
    return bool(state == _POLL_OK)


# Class 22 and 42704: a parameter (`options=-c ...`) that does not exist, or a value that it does not accept.
_BAD_SETTING = ("22", "42704")

# insufficient_privilege: CONNECT on the database (CheckMyDatabase in src/backend/utils/init/postinit.c).
_NO_RIGHT = "42501"

# What a refusal means, in our own words: the server's text may hold anything, such as names that the request chose. A
# code of five characters takes precedence over its class of two.
_REASONS = {
    "28P01": 'does not accept the password, or has no role "{user}"',
    "28": 'does not admit the role "{user}" from here: no rule of pg_hba allows it, or the role may not log in',
    "3D": 'has no database "{dbname}"',
    "53300": "has no free connection slot, or none for this role or database",
    "57P03": "takes no connections yet: it is starting, stopping or recovering",
}

# cannot_connect_now. Most servers need less than a minute to start, and the smaller ones some seconds.
_STARTING, _STARTING_SECONDS = "57P03", 10


def connect_error(parameters: dict[str, Any]) -> RestoreError:
    """Find out why a connection was refused.

    Args:
        parameters: libpq keywords and values, as they were given to `psycopg2.connect`.

    Returns:
        The error to raise. Nothing of the server's own text is in it.
    """
    refusal = refused_with(parameters)
    sqlstate = refusal.sqlstate
    if refusal.needs_password:
        return DatabaseAccessDenied(
            "the server asks for a password, and none was given",
            hint="give pg.password; the setting PGPASSWORD is sent only to PGHOST at PGPORT and to PG_ALLOWED_HOSTS",
        )
    if refusal.is_connected:
        return DatabaseUnreachable("the database server refused a connection, and took the next one")
    if sqlstate is None:
        text = refusal.text or f"no answer within {parameters['connect_timeout']} s"
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
    return _refused(parameters, sqlstate)


def _refused(parameters: dict[str, Any], sqlstate: str) -> RestoreError:
    name = name_of(sqlstate) or "see the SQLSTATE"
    reason = _REASONS.get(sqlstate) or _REASONS.get(sqlstate[:2]) or f"refused the connection: {name}"
    error = error_for_sqlstate(sqlstate, name)
    reason = reason.format(user=parameters.get("user", ""), dbname=parameters["dbname"])
    error.message = f"the database server {reason}"
    if sqlstate == _STARTING:
        error.retry_after_seconds = _STARTING_SECONDS
    return error
