"""Keeps sessions open between restores, so that a restore that soon follows another need not connect anew.

A session that comes back is reset, so that nothing of one restore is left for the next one: settings that a trigger has
set, roles, temporary tables, prepared statements, LISTEN, advisory locks, and the name that a cancel finds it by. A
custom setting that a restore was the first to set keeps an empty value, as it does in the session of a restore that
begins its load anew. `login.py` says in which databases more could be left, and which sessions are not kept for that.

A session is used again only where a new connection would lead to one like it: for the same endpoint (host, port,
parameters, role and password), if the host's name still leads to the address, and if nothing that decides about a login
is different (`login.py`). A token is not compared: the server checks one when a session begins, and the identity is the
same. Whether anything is different is asked in the message that gives the session its new name. That message changes no
data, so if it fails, a new connection takes the session's place. No other statement is ever repeated.

Behind a pooler in transaction mode a connection has no session of its own that could be reset, and connecting is cheap.
So connections to a pooler are not kept. Nor are those of an endpoint with several hosts, of which another one may be
the primary by now.
"""

from __future__ import annotations

import atexit
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from shared.errors import DatabaseUnreachable, TooManyConnections
from shared.postgres.connect import APPLICATION_NAME, Connection, Limits, Opened, open_session
from shared.postgres.endpoint import Endpoint
from shared.postgres.limited_cursor import own_socket, set_statement_limit
from shared.postgres.login import Login, login_query, read_login
from shared.postgres.uri import is_socket
from shared.process import wait_for

# Each takes a connection slot of its server. Two restores at once have four.
MOST_IDLE = 4
# How long after its login a session may be used again. A password that was changed is not noticed before.
MOST_SECONDS = 60

IDLE_NAME = f"{APPLICATION_NAME} idle"

# How long a session may take to answer when it is taken or given back, beside the grace of each statement. After that
# it is closed.
_ANSWER_SECONDS = 1
# The server ends an idle session itself if this process is frozen, or gone without a word.
_FIRST_IDLE_TIMEOUT = 140000
_SPARE_SECONDS = 5
# How long a server may take to release the slot of a session that was closed.
_CLOSE_SECONDS = 2

# DISCARD ALL leaves the role to the session's own user, and not to the one that ALTER ROLE ... SET role names; and it
# takes back the DateStyle that psycopg2 sets as it connects, if the server's is another one (conn_setup in
# psycopg/connection_int.c). It also leaves the seed of random(): a restore that has set it could tell which
# numbers the next one gets.
_TAKE = sql.SQL(
    "RESET ROLE; SET DateStyle TO 'ISO'; {end}SELECT pg_catalog.set_config('application_name', {name}, false); {login}"
)
_REST = sql.SQL("SET application_name TO {name}{end}; SELECT pg_catalog.setseed({seed})")
_random = random.SystemRandom()


@dataclass(eq=False)
class _Session:
    """A session that may be kept.

    Attributes:
        endpoint: where it leads to.
        opened: its connection.
        logged_in: when, by `time.monotonic`.
        login: what it found; None: it is not kept.
        expires: when it must not be used again, by `time.monotonic`.
    """

    endpoint: Endpoint
    opened: Opened
    logged_in: float
    login: Login | None = None
    expires: float = 0.0

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.opened.connection

    def has_expired(self) -> bool:
        """Whether its time is up."""
        return self.expires <= time.monotonic()

    def note_login(self) -> None:
        """Ask what the login found, if the session may be kept."""
        if _has_several_hosts(self.endpoint):
            return
        with suppress(psycopg2.Error), self.connection.cursor() as cursor:
            cursor.execute(login_query(self.connection))
            login = read_login(cursor)
            # The process id that a pooler gives its client is not that of the server's process.
            if login is not None and login.may_be_kept and login.backend_pid == self.connection.info.backend_pid:
                self.login = login

    def reset(self, idle_seconds: int) -> bool:
        """Take back what was set, and release what it holds. Return whether that was done, and it may be kept.

        Args:
            idle_seconds: how long it may be idle.
        """
        connection, now = self.connection, time.monotonic()
        self.expires = min(now + idle_seconds, self.logged_in + MOST_SECONDS)
        if self.login is None or self.expires <= now:
            return False
        if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            return False
        end: sql.Composable = sql.SQL("")
        if connection.server_version >= _FIRST_IDLE_TIMEOUT:
            end = sql.SQL("; SET idle_session_timeout TO {}").format(sql.Literal(f"{idle_seconds + _SPARE_SECONDS}s"))
        # The work in the session is done. Whatever goes wrong here is not an error of that work.
        with suppress(psycopg2.Error, OSError), connection.cursor() as cursor:
            cursor.execute("DISCARD ALL")
            seed = sql.Literal(_random.uniform(-1, 1))
            cursor.execute(_REST.format(name=sql.Literal(IDLE_NAME), end=end, seed=seed))
            return True
        return False

    def begin(self, application_name: str) -> bool:
        """Name a session that was reset. Return whether it still works, and is as a new one would be."""
        connection = self.connection
        end = sql.SQL("RESET idle_session_timeout; " if connection.server_version >= _FIRST_IDLE_TIMEOUT else "")
        with suppress(psycopg2.Error, OSError), connection.cursor() as cursor:
            if not _leads_there(self.endpoint, connection):
                return False
            name, login = sql.Literal(application_name), login_query(connection)
            cursor.execute(_TAKE.format(end=end, name=name, login=login))
            return read_login(cursor) == self.login
        return False

    def close(self, _: object = None) -> None:
        """End it."""
        with suppress(psycopg2.Error):
            self.connection.close()

    def close_and_wait(self) -> None:
        """End it, and wait until the server has released its slot."""
        if self.connection.closed:
            return
        with suppress(OSError), own_socket(self.connection) as link:
            self.close()
            link.settimeout(_CLOSE_SECONDS)
            while link.recv(4096):
                pass
        self.close()


def _has_several_hosts(endpoint: Endpoint) -> bool:
    return any("," in endpoint.parameters[name] for name in ("host", "hostaddr"))


def _leads_there(endpoint: Endpoint, connection: Connection) -> bool:
    """Whether a new connection could lead to the same address. A name may lead elsewhere since a failover.

    Raises:
        OSError: the name leads nowhere.
    """
    host = endpoint.parameters["host"]
    if endpoint.parameters["hostaddr"] or is_socket(host):
        return True
    with own_socket(connection) as link:
        peer = link.getpeername()[0]
    return any(address[4][0] == peer for address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


class KeptSessions:
    """The idle sessions of this process. While there are any, a thread closes each when its time is up."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without a session. In a process that was forked, the idle ones belong to its parent.

        psycopg2 closes no connection that another process has opened (connection_dealloc in psycopg/connection_type.c).
        """
        self._changed = threading.Condition()
        # Held while sessions are closed for the sake of their slots; and how often that was done.
        self._making_room = threading.Lock()
        self._rooms = 0
        self._idle: list[_Session] = []
        self._thread: threading.Thread | None = None

    @contextmanager
    def connect(
        self,
        endpoint: Endpoint,
        limits: Limits,
        *,
        idle_seconds: int,
        application_name: str,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Connection]:
        """Use an idle session, or open one, and keep it at the end of a body that raises nothing.

        Args:
            endpoint: as of `open_session`.
            limits: as of `open_session`.
            idle_seconds: how long it is kept.
            application_name: as of `open_session`.
            check: as of `open_session`.

        Raises:
            RestoreError: as `open_session`.
        """
        session = self._take(endpoint, limits, application_name, check)
        if session is None:
            session = self._open(endpoint, limits, application_name, check)
        try:
            with session.opened.in_use() as connection:
                yield connection
        except BaseException:
            session.close()
            raise
        self._give_back(session, idle_seconds)

    @contextmanager
    def connect_anew(
        self, endpoint: Endpoint, limits: Limits, *, application_name: str, check: Callable[[], None] = lambda: None
    ) -> Iterator[Connection]:
        """Open a connection, whatever is idle, and close it at the end. Arguments and errors as of `open_session`."""
        opened = self._open_making_room(endpoint, limits, application_name, check)
        with closing(opened.connection), opened.in_use() as connection:
            yield connection

    def close_idle(self) -> None:
        """Close the sessions that are idle."""
        for session in self._take_out(lambda _: True):
            session.close()

    def _take(
        self, endpoint: Endpoint, limits: Limits, application_name: str, check: Callable[[], None]
    ) -> _Session | None:
        """Return an idle session that still works, under its new name; None if there is none."""
        while (session := self._next(endpoint)) is not None:
            set_statement_limit(session.connection, _ANSWER_SECONDS)
            if wait_for(partial(session.begin, application_name), check=check, discard=session.close):
                set_statement_limit(session.connection, limits.statement_seconds)
                return session
            session.close()
            # Most likely the others have lost their server as well, and each may take seconds to show it.
            for other in self._take_out(lambda idle: idle.endpoint == endpoint):
                other.close()
        return None

    def _open(self, endpoint: Endpoint, limits: Limits, application_name: str, check: Callable[[], None]) -> _Session:
        began = time.monotonic()
        opened = self._open_making_room(endpoint, limits, application_name, check)
        session = _Session(endpoint, opened, began)
        set_statement_limit(opened.connection, limits.connect_seconds)
        wait_for(session.note_login, check=check, discard=session.close)
        set_statement_limit(opened.connection, limits.statement_seconds)
        return session

    def _open_making_room(
        self, endpoint: Endpoint, limits: Limits, application_name: str, check: Callable[[], None]
    ) -> Opened:
        """Open a session. If the server has no free slot, give it those of the idle ones."""
        open_ = partial(open_session, endpoint, limits, application_name=application_name, check=check)
        rooms = self._rooms
        try:
            return open_()
        except (TooManyConnections, DatabaseUnreachable) as exc:
            # Another thread may have made room after this attempt was refused. Then the server may have taken the
            # second attempt, which asks why the first one was refused (connect_error.py), and the error is not that of
            # a full server.
            is_full = isinstance(exc, TooManyConnections)
            with self._making_room:
                idle = self._take_out(lambda _: is_full)
                for session in idle:
                    session.close_and_wait()
                self._rooms += bool(idle)
                if self._rooms == rooms:
                    raise
        return open_()

    def _give_back(self, session: _Session, idle_seconds: int) -> None:
        if not session.connection.closed:
            # The answer of the call waits for it.
            set_statement_limit(session.connection, _ANSWER_SECONDS)
        if not session.reset(idle_seconds):
            session.close()
            return
        with self._changed:
            surplus = [session]
            if self._has_thread():
                self._idle.append(session)
                surplus = self._idle[:-MOST_IDLE]
                del self._idle[:-MOST_IDLE]
                self._changed.notify()
        for one in surplus:
            one.close()

    def _has_thread(self) -> bool:
        """Start the thread that closes sessions, if there is none. Return whether it runs: the system may refuse it."""
        if self._thread is None:
            thread = threading.Thread(target=self._close_expired, name="idle sessions", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
        return self._thread is not None

    def _next(self, endpoint: Endpoint) -> _Session | None:
        """Take out the session of an endpoint that was used last; None if there is none."""
        with self._changed:
            for session in reversed(self._idle):
                if session.endpoint == endpoint and not session.has_expired():
                    self._idle.remove(session)
                    return session
        return None

    def _take_out(self, is_wanted: Callable[[_Session], bool]) -> list[_Session]:
        """Take out the idle sessions that meet a condition."""
        with self._changed:
            found = [session for session in self._idle if is_wanted(session)]
            self._idle = [session for session in self._idle if session not in found]
            return found

    def _close_expired(self) -> None:
        """Close each idle session when its time is up, until none is left."""
        while True:
            with self._changed:
                if not self._idle:
                    self._thread = None
                    return
                soonest = min(session.expires for session in self._idle)
                self._changed.wait(max(0.0, soonest - time.monotonic()))
            for session in self._take_out(_Session.has_expired):
                session.close()


SESSIONS = KeptSessions()
atexit.register(SESSIONS.close_idle)
os.register_at_fork(after_in_child=SESSIONS.forget)
