"""Runs an iterator in its own thread, a bounded amount ahead of its consumer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from shared.process import start_thread

T = TypeVar("T", bound="bytes | memoryview")


class Prefetch(Generic[T]):
    """The items of an iterator, produced in another thread."""

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
                    # One item is always accepted, however large it is.
                    self._changed.wait_for(lambda: self._held < self._most or self._is_stopped)
                    if self._is_stopped:
                        return
                    self._ready.append(item)
                    self._held += len(item)
                    self._changed.notify_all()
        except BaseException as exc:  # noqa: BLE001 - __next__ raises it again in the consumer's thread
            self._error = exc
        finally:
            try:
                self._items.close()
            finally:
                with self._changed:
                    self._is_done = True
                    self._changed.notify_all()

    def stop(self) -> None:
        """Stop the thread, which closes the iterator, and wait until it has ended."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()


@contextmanager
def prefetch(items: Generator[T, None, None], *, most_bytes: int, name: str) -> Iterator[Iterator[T]]:
    """Produce an iterator's items in a separate thread.

    Args:
        items: a generator of bytes. It runs only in that thread, and is closed there.
        most_bytes: no further item is produced while this many bytes wait for the consumer.
        name: the thread's name, for a stack dump.

    Yields:
        The same items in the same order. An error of the generator follows the items before it.
    """
    ahead = Prefetch(items, most_bytes=most_bytes, name=name)
    try:
        yield ahead
    finally:
        ahead.stop()
