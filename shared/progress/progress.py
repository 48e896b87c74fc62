"""How far one restore is, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, TypeAlias

from shared.csvfile.scan import rows_of
from shared.progress.cancelable import Cancelable

Stage: TypeAlias = Literal[
    "connect",
    "download",
    "count",
    "inspect",
    "decompress",
    "replace",
    "index",
    "copy",
    "insert",
    "verify",
    "compress",
    "commit",
    "recompress",
    "refresh",
]


def percent_of(read: int, total: int | None) -> float | None:
    """Return how much was read of so many bytes, in percent with one digit; None until their number is known."""
    return None if not total else round(min(100.0, 100 * read / total), 1)


def percent_read(compressed: int, compressed_total: int | None, csv: int, csv_total: int | None) -> float | None:
    """Return how much was read of what takes the time, in percent: of the archive, or of the CSV that was made of it.

    To spool an archive takes seconds, and to load the spooled CSV minutes. A streamed archive is loaded as it is read.

    Args:
        compressed: how much of the stored archive was read, in bytes.
        compressed_total: its length, in bytes; None until it is known.
        csv: how much of the CSV was handed on to PostgreSQL, in bytes.
        csv_total: its length, in bytes; None if it is not spooled, or not yet.
    """
    return percent_of(csv, csv_total) if csv_total else percent_of(compressed, compressed_total)


class Progress(Cancelable):
    """The stages of one restore, on a clock that never goes back. A stage that is entered again adds up.

    The restore writes it. Any other thread may read it, and may cancel the restore.

    Attributes:
        stage_name: the stage that runs, or the one in which an error came up.
        compressed_bytes: how much of the stored archive was read, in bytes. Starts over where it is read again.
        compressed_bytes_total: length of the stored archive, in bytes; None until it is known.
        csv_bytes: how much of the CSV was handed on to PostgreSQL, in bytes. Starts over likewise.
        csv_bytes_total: length of the CSV, in bytes, once it is spooled; None before, and where it is streamed.
        records: how many records of the CSV were read; None until the first ones were. Starts over likewise.
        has_header: whether the first of them is the header.
        loads: how often the load was begun.
        is_committed: whether the server has confirmed the load's COMMIT.
        observe: makes what surrounds each stage, by its name. It lets every exception through, and raises none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begin = time.monotonic()
        self._stages: dict[Stage, float] = {}
        self.stage_name: Stage | None = None
        self.compressed_bytes = 0
        self.compressed_bytes_total: int | None = None
        self.csv_bytes = 0
        self.csv_bytes_total: int | None = None
        self.records: int | None = None
        self.has_header = False
        self.loads = 0
        self.is_committed = False
        self.observe: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count the body's time for a stage.

        Raises:
            RestoreCanceled: the restore was canceled.
        """
        self.check()
        begin = time.monotonic()
        self.stage_name = name
        try:
            with self.observe(name):
                yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + time.monotonic() - begin
        self.stage_name = None

    def seconds(self) -> dict[str, float]:
        """Return the stages so far and the total, in seconds, rounded to milliseconds."""
        stages = {name: round(seconds, 3) for name, seconds in list(self._stages.items())}
        return stages | {"total": round(time.monotonic() - self._begin, 3)}

    @property
    def rows(self) -> int | None:
        """How many rows of the archive were read; None until the first ones were."""
        return None if self.records is None else rows_of(self.records, has_header=self.has_header)

    @property
    def percent(self) -> float | None:
        """How much was read of what takes the time, in percent: see `percent_read`."""
        return percent_read(self.compressed_bytes, self.compressed_bytes_total, self.csv_bytes, self.csv_bytes_total)
