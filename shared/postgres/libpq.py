"""libpq by ctypes: the functions that psycopg2 does not offer, in the very library that psycopg2 has loaded.

A server's message may hold a whole row: DETAIL and CONTEXT quote it, and so may the message itself. Such text must get
neither into an exception nor to the process's standard error, which no filter of the log covers. This module closes two
ways by which it did:

- libpq makes each message when it arrives, and psycopg2 makes an exception of it. In a COPY that the server ends,
  psycopg2 makes two, and prints the first one (`PyErr_Print` in pq_raise, psycopg/pqpath.c; seen on 2.9.13). So libpq
  is set to write nothing but the SQLSTATE. The fields of an error, `exc.diag`, stay as they are.
- psycopg2 receives a connection's notices only after libpq has opened it. Until then libpq prints them to C's stderr
  (`defaultNoticeProcessor` in fe-connect.c): those of a trigger ON LOGIN, for example. There is no connection yet whose
  handler could be replaced, so C's stderr is discarded meanwhile. Python's standard error is not affected.

The functions: https://www.postgresql.org/docs/current/libpq-control.html.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple, TypeAlias

import psycopg2.extensions
from psycopg2 import _psycopg

# libpq-fe.h: enum PGVerbosity
PQERRORS_SQLSTATE = 3
# postgres_ext.h: PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_SOURCE_FILE
_MESSAGE, _SOURCE_FILE = ord("M"), ord("F")
# How much of a field is read, in bytes.
_LONGEST_FIELD = 200
# How long one wait for a server that takes no data lasts, in milliseconds. The limit of a statement ends the waits.
_PATIENCE = 1000

TEXTS = ctypes.POINTER(ctypes.c_char_p)
RECEIVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@cache
def load_libpq() -> ctypes.CDLL:
    """Return libpq, with the types of the functions that are called here and in `connect_error.py`."""
    # The extension module is linked with libpq, so its handle also finds libpq's functions.
    libpq = ctypes.CDLL(_psycopg.__file__)
    handle, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("PQconnectStartParams", handle, (TEXTS, TEXTS, number)),
        ("PQsetErrorVerbosity", number, (handle, number)),
        ("PQsetNoticeReceiver", handle, (handle, RECEIVER, handle)),
        ("PQstatus", number, (handle,)),
        ("PQsocket", number, (handle,)),
        ("PQconnectPoll", number, (handle,)),
        ("PQconsumeInput", number, (handle,)),
        ("PQisBusy", number, (handle,)),
        ("PQresultErrorField", handle, (handle, number)),
        ("PQerrorMessage", ctypes.c_char_p, (handle,)),
        ("PQconnectionNeedsPassword", number, (handle,)),
        ("PQfinish", None, (handle,)),
    ):
        function = getattr(libpq, name)
        function.restype, function.argtypes = result, arguments
    return libpq


class Said(NamedTuple):
    """A notice: its message, and the server's source file that it comes from. Both are cut."""

    message: str
    source_file: str


Receiver: TypeAlias = Callable[[Said], None]

# A server may send any number of notices, and none is needed.
IGNORE_NOTICES = RECEIVER(lambda _argument, _result: None)


def hide_texts(connection: psycopg2.extensions.connection) -> None:
    """Let the connection's errors hold their SQLSTATE instead of a text, and keep no notices."""
    load_libpq().PQsetErrorVerbosity(connection.pgconn_ptr, PQERRORS_SQLSTATE)
    load_libpq().PQsetNoticeReceiver(connection.pgconn_ptr, IGNORE_NOTICES, None)


@contextmanager
def received_notices(connection: psycopg2.extensions.connection, receive: Receiver) -> Iterator[None]:
    """Hand on the notices of the statements in the body as they come. Nothing keeps or prints them.

    Args:
        connection: runs the statements.
        receive: is called in the thread that runs the statement. It must not raise.
    """
    libpq = load_libpq()

    def text_of(result: int, code: int) -> str:
        field = libpq.PQresultErrorField(result, code)
        return "" if field is None else ctypes.string_at(field)[:_LONGEST_FIELD].decode("utf-8", "replace")

    receiver = RECEIVER(lambda _, result: receive(Said(text_of(result, _MESSAGE), text_of(result, _SOURCE_FILE))))
    libpq.PQsetNoticeReceiver(connection.pgconn_ptr, receiver, None)
    try:
        yield
    finally:
        if connection.pgconn_ptr is not None:
            libpq.PQsetNoticeReceiver(connection.pgconn_ptr, IGNORE_NOTICES, None)


def take_in(connection: psycopg2.extensions.connection) -> None:
    """Take in what the server has sent, until it takes more of a COPY. Then a short send does not wait.

    A broken connection is not an error here: the next call of libpq reports it.
    """
    libpq, handle = load_libpq(), connection.pgconn_ptr
    waiting = select.poll()
    waiting.register(libpq.PQsocket(handle), select.POLLIN | select.POLLOUT)
    while True:
        found = waiting.poll(_PATIENCE)
        is_ready = any(event & ~select.POLLIN for _, event in found)
        if any(event & select.POLLIN for _, event in found):
            if not libpq.PQconsumeInput(handle):
                return
            # It hands the notices on, and forgets them.
            libpq.PQisBusy(handle)
        if is_ready:
            return


class _CStderr:
    """The variable `stderr` of the C library, and how many bodies discard what is written to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._variable, self._nowhere = _find_c_stderr()
        self._usual: int | None = None

    def silence(self) -> None:
        with self._lock:
            if self._variable is not None and self._users == 0:
                self._usual, self._variable.value = self._variable.value, self._nowhere
            self._users += 1

    def restore(self) -> None:
        with self._lock:
            self._users -= 1
            if self._variable is not None and self._users == 0:
                self._variable.value = self._usual


def _find_c_stderr() -> tuple[ctypes.c_void_p | None, int | None]:
    """Return the variable and a stream that discards everything. Only for glibc: in musl the variable is a constant."""
    try:
        libc = ctypes.CDLL(None)
        is_glibc = hasattr(libc, "gnu_get_libc_version")
        variable = ctypes.c_void_p.in_dll(libc, "stderr") if is_glibc else None
    except (OSError, TypeError, ValueError):
        return None, None
    if variable is None:
        return None, None
    libc.fopen.restype, libc.fopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_char_p)
    # Never closed: another thread may have read the variable and not have written yet.
    nowhere = libc.fopen(os.devnull.encode(), b"w")
    return (variable, nowhere) if nowhere else (None, None)


_c_stderr = _CStderr()


@contextmanager
def without_c_stderr() -> Iterator[None]:
    """Discard what C code of this process writes to `stderr` while the body runs.

    Keep the body short: this affects every library of the process. Python's `sys.stderr` does not use this variable.
    """
    _c_stderr.silence()
    try:
        yield
    finally:
        _c_stderr.restore()
