"""What the process as a whole is set to: its heap, and the threads that a restore starts.

glibc gives a large block a mapping of its own, which goes back to the system when it is freed. But each such free
raises that threshold, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). Below it, parts of an archive land in the heaps of
the threads that fetch them, between small long-lived blocks, and the process never returns that memory. A threshold
that is set explicitly no longer moves. Lower thresholds keep less memory and cost more: each page that comes
back is cleared first.

Smaller blocks come from heaps, of which glibc makes a new one for each thread that finds the others busy, up to eight
times the cores. Each heap keeps what the threads of eight restores once filled, so eight times as many heaps keep eight
times as much. Arrow has an allocator of its own, which keeps its memory, too. So there are two heaps, and after a large
restore both allocators release what is free (docs/performance.md#what-it-costs).

The Functions host drops a log line that carries no invocation id, and a new thread has none: the worker reads it from
`Context.thread_local_storage`. So each thread of a restore joins the restore's invocation first.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TypeVar

T = TypeVar("T")

MIB = 1024 * 1024  # bytes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# Less than a range of an archive, and more than a block that is processed at once.
_MAPPED_BYTES = 4 * MIB
# Of free memory at the end of a heap.
_TRIM_BYTES = 8 * MIB
_HEAPS = 2

# How often a wait asks whether it is to end.
_CHECK_SECONDS = 0.5

_join: ContextVar[Callable[[], None]] = ContextVar("join_invocation", default=lambda: None)


def limit_heap_retention() -> bool:
    """Let every block of 4 MiB and more go back to the system when it is freed, and all threads share two heaps.

    Holds for this process from now on.

    Returns:
        Whether the C library can; where it cannot, nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    limits = ((_M_MMAP_THRESHOLD, _MAPPED_BYTES), (_M_TRIM_THRESHOLD, _TRIM_BYTES), (_M_ARENA_MAX, _HEAPS))
    return all(mallopt(name, value) for name, value in limits)


def give_back_memory() -> None:
    """Give free memory back to the system: Arrow's, if that is loaded, and the C library's. It takes milliseconds."""
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def invocation(join: Callable[[], None]) -> Iterator[None]:
    """Let the threads that the body starts join an invocation.

    Args:
        join: is called first in each of them.
    """
    token = _join.set(join)
    try:
        yield
    finally:
        _join.reset(token)


def current_join() -> Callable[[], None]:
    """Return what a new thread calls to join the caller's invocation, for a pool that starts its threads itself."""
    return _join.get()


def start_thread(target: Callable[[], None], *, name: str) -> threading.Thread:
    """Start a thread that joins the caller's invocation. It does not keep the process alive.

    Args:
        target: what it runs.
        name: of the thread, for a stack dump.
    """
    context = copy_context()

    def run() -> None:
        # A thread whose lines are missing in the log is better than a thread that never runs.
        with suppress(Exception):
            _join.get()()
        target()

    thread = threading.Thread(target=lambda: context.run(run), name=name, daemon=True)
    thread.start()
    return thread


@contextmanager
def repeating(action: Callable[[], bool], seconds: float, *, name: str) -> Iterator[None]:
    """Call an action again and again in a thread of its own, until the block ends.

    Args:
        action: returns whether it is to be called again.
        seconds: before each call.
        name: of the thread, for a stack dump.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds) and action():
            pass

    thread = start_thread(run, name=name)
    try:
        yield
    finally:
        ended.set()
        thread.join()


class CpuBudget:
    """A limit of processor time for some work, and how much of it is spent. One thread at a time may work.

    Args:
        seconds: the limit.
        exceeded: makes the exception that is raised when it is spent.
    """

    def __init__(self, seconds: float, exceeded: Callable[[], Exception]) -> None:
        self._seconds = seconds
        self._exceeded = exceeded
        self._spent = self._last = 0.0

    def begin(self) -> None:
        """Count the time of this thread from now on, beside what is spent already."""
        self._last = time.thread_time()

    def check(self) -> None:
        """Count the time since the last look. Raises what the budget was given for that, once it is spent."""
        now = time.thread_time()
        self._spent += now - self._last
        self._last = now
        if self._spent > self._seconds:
            raise self._exceeded()

    def earn(self, seconds: float) -> None:
        """Take back some of what is spent, for useful work. Nothing is saved up."""
        self._spent = max(0.0, self._spent - seconds)


def result_of(future: Future[T], *, check: Callable[[], None]) -> T:
    """Wait for a future, and check meanwhile whether to go on.

    Args:
        future: the future.
        check: is called twice a second. What it raises ends the wait.
    """
    try:
        while not wait([future], timeout=_CHECK_SECONDS).done:
            check()
        return future.result()
    finally:
        # An exception keeps this frame, and the frame would keep the future with the exception: a cycle.
        del future


def started(action: Callable[[], T], *, name: str) -> Future[T]:
    """Run an action in a thread of its own, and return the future of its result.

    Args:
        action: what it runs.
        name: of the thread, for a stack dump.
    """
    future: Future[T] = Future()
    start_thread(partial(_run_into, future, action), name=name)
    return future


def wait_for(action: Callable[[], T], *, check: Callable[[], None], discard: Callable[[T], None] = lambda _: None) -> T:
    """Run an action in a thread of its own and wait for it: a cancel need not wait for the action's end.

    Args:
        action: what takes long and cannot be interrupted.
        check: is called twice a second. What it raises ends the wait; the action goes on, and nobody waits for it.
        discard: gets a result that comes after that.
    """
    future = started(action, name="wait")
    try:
        return result_of(future, check=check)
    except BaseException:
        future.add_done_callback(partial(_discard_late, discard))
        raise
    finally:
        # As in `result_of`.
        del future


def _run_into(future: Future[T], action: Callable[[], T]) -> None:
    try:
        future.set_result(action())
    except BaseException as exc:  # noqa: BLE001 - it is raised again where the result is waited for
        # Without this frame, which would keep the future alive: see `result_of`.
        future.set_exception(exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next))


def _discard_late(discard: Callable[[T], None], late: Future[T]) -> None:
    if late.exception() is None:
        discard(late.result())
