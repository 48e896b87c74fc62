"""One day to load: what its load is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from shared.csvfile.source import CsvSource
from shared.load.target.file_header import FileHeader
from shared.load.target.target import Target, find_target
from shared.model.answer import Outcomes
from shared.model.request import OnExisting, RestoreRequest
from shared.model.results import ChunkStep, Count, IndexOutcome, Notice, Removed, Transferred, Verification
from shared.model.window import Window
from shared.postgres.connect import Connect, Connection, Cursor
from shared.postgres.sqlstate import RowErrors
from shared.postgres.timeouts import SessionSettings
from shared.postgres.transaction import CommitId, Transaction, transaction
from shared.progress.progress import Progress
from shared.settings import Settings
from shared.timescale.chunks import Chunk
from shared.timescale.needed_settings import session_settings_of


@dataclass(frozen=True)
class Day:
    """What a load is given.

    Attributes:
        request: what is restored, and how.
        settings: the function app's.
        header: what precedes the file's rows.
        csv: the archive's CSV.
        token: makes the name of a staging table unique: lower-case hexadecimal digits.
        progress: is written, and says whether the restore was canceled.
        connect_again: another connection to the same server.
        found: is called with the target each time it was looked up.
        before_commit: is called right before the COMMIT, with what identifies the COMMIT to the server and with the
            result. What it raises rolls back.
        committed: is called with the result as soon as the server has confirmed the COMMIT.
    """

    request: RestoreRequest
    settings: Settings
    header: FileHeader
    csv: CsvSource
    token: str
    progress: Progress
    connect_again: Connect
    found: Callable[[Target], None]
    before_commit: Callable[[CommitId, Loaded], None]
    committed: Callable[[Loaded], None]

    @property
    def policy(self) -> OnExisting:
        """What happens to rows that are in the day already."""
        return self.request.destination.existing_rows

    def skips(self, rows: Count) -> bool:
        """Whether the day is left as it is because it already holds rows."""
        return self.policy == "skip" and rows.rows > 0

    def find_target(self, cursor: Cursor) -> Target:
        """Ask the database what the target is."""
        target = find_target(cursor, self.request, self.header, self.csv.head)
        self.found(target)
        return target

    @property
    def session_settings(self) -> SessionSettings:
        """What each transaction of the load begins with."""
        session_settings = session_settings_of(self.settings)
        if not self.request.copy_.synchronous_commit_off:
            return session_settings
        return replace(session_settings, others={**session_settings.others, "synchronous_commit": "off"})

    def transaction(self, connection: Connection, cancel: Callable[[], None]) -> AbstractContextManager[Transaction]:
        """Begin a transaction that loads the day. A cancel interrupts it, up to the COMMIT, which refuses cancels.

        Args:
            connection: the load's, in autocommit.
            cancel: ends a statement that runs on it.
        """
        interruptible = partial(self.progress.interruptible, cancel)
        return transaction(connection, "REPEATABLE READ", self.session_settings, interruptible)

    @property
    def row_errors(self) -> RowErrors:
        """What an error that names a row shows."""
        return RowErrors(self.settings.show_row_data, self.csv.preamble.lines)


@dataclass(frozen=True)
class Skipped:
    """The day already has rows and is left as it is: the target, and its number of rows of the day."""

    target: Target
    rows: int


@dataclass(frozen=True)
class Loaded:
    """What a load did, and what it leaves for the steps after its COMMIT.

    Attributes:
        target: as it was before the load.
        transferred: how the rows got in.
        indexes: what happened to the indexes.
        removed: the day's rows that were removed before the load; None if none had to be.
        verification: the proof; None where nothing was counted.
        spans: what was really loaded: the day, and where rows outside it were allowed, the span of those of each chunk.
        chunk_steps: what was done to chunks.
        options: the outcomes of the request's options of these names.
        to_recompress: the chunks in that span that are to be compressed again.
        created: the chunks that the load made for the day.
        warnings: what the caller should know although the rows are in, in the order in which it happened.
    """

    target: Target
    transferred: Transferred
    indexes: IndexOutcome
    removed: Removed | None
    verification: Verification | None
    spans: tuple[Window, ...]
    chunk_steps: tuple[ChunkStep, ...]
    options: Outcomes
    to_recompress: tuple[Chunk, ...]
    created: tuple[Chunk, ...]
    warnings: tuple[Notice, ...]
