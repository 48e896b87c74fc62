"""Runs an iterator in a thread of its own, a bounded way ahead of whoever takes its items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from shared.process import start_thread

T = TypeVar("T", bound="bytes | memoryview")


class Prefetch(Generic[T]):
    """The items of an iterator, made in another thread."""

    def __init__(self, items: Generator[T, None, None], *, most_bytes: int, name: str) -> None:
        self._items = items
        self._most = most_bytes
        self._ready: deque[T] = deque()
        self._held = 0
        self._error: BaseException | None = None
        self._is_done = self._is_stopped = False
        self._changed = threading.Condition()
        self._thread = start_thread(self._run, name=name)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_done)
            if self._ready:
                item = self._ready.popleft()
                self._held -= len(item)
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    # One item always finds room, however large it is.
                    self._changed.wait_for(lambda: self._held < self._most or self._is_stopped)
                    if self._is_stopped:
                        return
                    self._ready.append(item)
                    self._held += len(item)
                    self._changed.notify_all()
        except BaseException as exc:  # noqa: BLE001 - it is raised again where the items are taken
            self._error = exc
        finally:
            try:
                self._items.close()
            finally:
                with self._changed:
                    self._is_done = True
                    self._changed.notify_all()

    def stop(self) -> None:
        """Let the thread end, and wait until it has: it closes the iterator first."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()


@contextmanager
def prefetch(items: Generator[T, None, None], *, most_bytes: int, name: str) -> Iterator[Iterator[T]]:
    """Make an iterator's items in a thread of their own.

    Args:
        items: a generator of bytes. It runs in that thread alone, and is closed there.
        most_bytes: no further item is made while so many wait to be taken.
        name: of the thread, for a stack dump.

    Yields:
        The same items in the same order; an error of the generator comes after the items before it.
    """
    ahead = Prefetch(items, most_bytes=most_bytes, name=name)
    try:
        yield ahead
    finally:
        ahead.stop()
