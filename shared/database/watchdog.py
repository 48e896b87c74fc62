"""Cuts a connection that gives no answer.

The server's `statement_timeout` ends a statement that takes too long, and TCP's own timers find a dead peer. Neither
finds a network that takes what is sent and delivers nothing (a proxy or gateway that hangs): libpq waits for ever. So
each statement has a limit on this side too.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2.extensions


class LimitedConnection(psycopg2.extensions.connection):
    """A connection that knows how long a statement may take."""

    answer_within_seconds: float


def limited_connection(answer_within_seconds: float) -> type[LimitedConnection]:
    """Make the class of connections with this limit."""
    return type("LimitedConnection", (LimitedConnection,), {"answer_within_seconds": answer_within_seconds})


class LimitedCursor(psycopg2.extensions.cursor):
    """A cursor whose statements are cut off at the connection's limit; psycopg2 then raises without a SQLSTATE."""

    connection: LimitedConnection

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - psycopg2's own name
        """Run a statement."""
        with _limit(self.connection):
            super().execute(query, vars)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Run a COPY."""
        with _limit(self.connection):
            super().copy_expert(sql, file, size)


@contextmanager
def _limit(connection: LimitedConnection) -> Iterator[None]:
    # A descriptor of our own: libpq's may be closed, and its number used again, when the time is up.
    watched = socket.socket(fileno=os.dup(connection.fileno()))
    timer = threading.Timer(connection.answer_within_seconds, _cut, (watched,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        watched.close()


def _cut(watched: socket.socket) -> None:
    try:
        watched.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The peer was faster.
        return
