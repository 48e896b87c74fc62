"""Keeps connections open between restores that follow one another, so that each need not connect anew.

A session that comes back is reset, so that nothing of one restore is left for the next one: settings that a trigger has
set, roles, temporary tables, prepared statements, LISTEN, advisory locks, and the name that a cancel finds it by. A
custom setting that a restore was the first to set keeps an empty value. What an extension holds outside of PostgreSQL's
own session state, such as a named connection of dblink, stays until the session ends.

Behind a pooler in transaction mode a connection has no session of its own that could be reset, and connecting is cheap.
So connections to a pooler are not kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from typing_extensions import Self

from shared.postgres.connect import Connection, Limits, Opened, open_session
from shared.postgres.endpoint import Endpoint
from shared.postgres.limited_cursor import set_statement_limit
from shared.process import wait_for

# How long a session may have been idle to be used again. A server, or a gateway on the way, ends one in time.
IDLE_SECONDS = 10

# DISCARD ALL leaves the role to the session's own user, and not to the one that ALTER ROLE ... SET role names; and it
# takes back the DateStyle that psycopg2 sets as it connects, if the server's is another one (conn_setup in
# psycopg/connection_int.c).
_TAKE = sql.SQL("RESET ROLE; SET DateStyle TO 'ISO'; SELECT pg_catalog.set_config('application_name', %s, false)")


@dataclass
class _Session:
    """A session that may be kept.

    Attributes:
        endpoint: where it leads to.
        opened: its connection.
        is_direct: whether it is known that no pooler is in between.
        idle_since: by `time.monotonic`.
    """

    endpoint: Endpoint
    opened: Opened
    is_direct: bool = False
    idle_since: float = 0.0

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.opened.connection

    def reset(self) -> bool:
        """Take back what was set, and release what it holds. Whether that was done."""
        connection = self.connection
        if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            return False
        with suppress(psycopg2.Error), connection.cursor() as cursor:
            if not self.is_direct:
                cursor.execute("SELECT pg_catalog.pg_backend_pid()")
                # What a pooler tells its client is no process of the server.
                self.is_direct = cursor.fetchone() == (connection.info.backend_pid,)
            if self.is_direct:
                cursor.execute("DISCARD ALL")
                return True
        return False

    def begin(self, application_name: str) -> bool:
        """Name a session that was reset. Whether it still works."""
        with suppress(psycopg2.Error), self.connection.cursor() as cursor:
            cursor.execute(_TAKE, (application_name,))
            return True
        return False

    def close(self, _: object = None) -> None:
        """End it."""
        self.connection.close()


class KeptSessions:
    """The sessions of restores that follow one another. Those that are idle are closed at the end.

    A session is used again only for the same endpoint: the same parameters, role and password. A token is not compared:
    the server checks one when a session begins, and the identity is the same. A session whose use ended with an error
    is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Session] = []

    def __enter__(self) -> Self:
        """Return the same."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sessions that are idle."""
        self.close_idle()

    def close_idle(self) -> None:
        """Close the sessions that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    @contextmanager
    def connect(
        self, endpoint: Endpoint, limits: Limits, *, application_name: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[Connection]:
        """Use an idle session, or open one, and keep it at the end. Arguments and errors as of `open_session`."""
        session = self._take(endpoint, limits, application_name, check) or _Session(
            endpoint, open_session(endpoint, limits, application_name=application_name, check=check)
        )
        try:
            with session.opened.in_use() as connection:
                yield connection
        except BaseException:
            session.close()
            raise
        self._give_back(session, limits)

    def _take(
        self, endpoint: Endpoint, limits: Limits, application_name: str, check: Callable[[], None]
    ) -> _Session | None:
        """Return an idle session that still works, under its new name; None if there is none."""
        while (session := self._next(endpoint)) is not None:
            set_statement_limit(session.connection, limits.connect_seconds)
            if wait_for(partial(session.begin, application_name), check=check, discard=session.close):
                set_statement_limit(session.connection, limits.statement_seconds)
                return session
            session.close()
        return None

    def _next(self, endpoint: Endpoint) -> _Session | None:
        """Take out the session that was used last, if it may be used for the endpoint. Close others on the way."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session = self._idle.pop()
            if session.endpoint == endpoint and time.monotonic() - session.idle_since < IDLE_SECONDS:
                return session
            session.close()

    def _give_back(self, session: _Session, limits: Limits) -> None:
        if not session.connection.closed:
            set_statement_limit(session.connection, limits.connect_seconds)
        if session.reset():
            session.idle_since = time.monotonic()
            with self._lock:
                self._idle.append(session)
        else:
            session.close()
