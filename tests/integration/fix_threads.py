"""Several threads that do the same at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


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
