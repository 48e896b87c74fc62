"""How long each stage of a restore took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by stage, on a clock that never goes back. A stage that is entered again adds up."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._stages: dict[str, float] = {}
        self.current: str | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the body's time for a stage."""
        begin = time.monotonic()
        self.current = name
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.monotonic() - begin
        self.current = None

    def seconds(self) -> dict[str, float]:
        """Return the stages so far and the total, rounded to milliseconds."""
        stages = {name: round(seconds, 3) for name, seconds in self._stages.items()}
        return stages | {"total": round(time.monotonic() - self._begin, 3)}
