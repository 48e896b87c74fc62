"""Calls that run in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from tests.integration.fix_database import PATIENCE_SECONDS

T = TypeVar("T")


class Call(Generic[T]):
    """A call that is under way in a thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._results: list[T] = []
        self._thread = threading.Thread(target=lambda: self._results.append(call()), daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for what the call returns."""
        self._thread.join(3 * PATIENCE_SECONDS)
        assert self._results, "the call did not end, or raised"
        return self._results[0]


def at_once(number: int, call: Callable[[], T]) -> list[T]:
    """Call a function in so many threads, none of which begins before all are there.

    Returns:
        What the calls returned. What one of them raised is raised.
    """
    start = threading.Barrier(number, timeout=10)

    def begin() -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(number) as pool:
        started = [pool.submit(begin) for _ in range(number)]
    return [future.result() for future in started]
