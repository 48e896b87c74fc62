"""One operation behind the queue as it is recorded: what was asked, how far it is, how it ended. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from shared.model.monitor import Kind, Status

ENDED: tuple[Status, ...] = ("Succeeded", "Failed", "Canceled")
# In the path of a link or a blob, one dot and two are steps, and clients remove them (RFC 3986, 5.2.4).
OPERATION_ID = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)
# A worker writes a heartbeat every 5 s.
STALE_SECONDS = 120
# Marks a field that is reset for each run: from the time when an operation waits to its end.
_OF_RUN = {"of_run": True}


@dataclass(frozen=True)
class Operation:
    """The record of an operation. Texts that name a time are ISO 8601 in UTC.

    Attributes:
        id: chosen by the client, or a UUID.
        kind: `restore`, one day; `backfill`, many days; `group`, those of them that share chunks.
        row_key: of its entity.
        etag: of the entity as it was read. Each write names it, and fails if another writer came first.
        written: when the entity was written, by the Table service's clock.
        read: when it was read, by the same clock.
        status: what callers see.
        request: the checked request, as JSON. It holds no secret.
        archive: URL of the archive.
        database: the database that it names.
        target_table: schema and table.
        day: the archive's day.
        created: when the operation was created.
        started: when its first attempt began.
        ended: when it ended.
        next_attempt: when it is tried again.
        attempt: how many attempts have begun.
        retries: how many of them ended with an error that may pass.
        waits: how many of them ended with an error that has a schedule of its own.
        crashes: how many of them lost their worker.
        claim: names the attempt that works on it; empty if none does.
        is_queued: whether a message for it was put into the queue since it last waited.
        is_canceled: whether a caller asked to cancel it.
        tokens: hashes of the tokens that open its result, newest last.
        stage: of the attempt.
        compressed_bytes: how much of the archive was read.
        compressed_bytes_total: length of the archive.
        rows: how many rows were read.
        seconds: how long the attempt has run.
        commit: what is known of a COMMIT that was about to be sent, as JSON; empty before that.
        error: the last attempt's error, as the answer's JSON; empty if there was none.
        answer_status: HTTP status of the synchronous answer; 0 before the end.
        answer_headers: its headers, as JSON.
        answer: its body, as JSON.
        traceparent: the caller's trace context; empty if there was none.
        backfill: id of the backfill that a day or a group belongs to; empty if there is none.
        is_held: whether it gets no message of its own: a day of a group never gets one, a group only at its turn.
        is_stopped: of a backfill: whether no further day is to start.
        parallel: of a backfill: how many groups run at once.
        shares_chunks: of a day: whether its chunks hold other days of its group, too.
        phase: of a backfill: what is to be done next.
        plan: of a backfill: its days and groups. Of a group: its days. As JSON.
        left: of a day: what its load leaves to its group and its backfill, as JSON; empty if it has loaded nothing.
    """

    id: str
    request: str
    archive: str
    database: str
    target_table: str
    day: str
    created: str
    kind: Kind = "restore"
    row_key: str = ""
    etag: str = ""
    written: datetime | None = field(default=None, compare=False)
    read: datetime | None = field(default=None, compare=False)
    status: Status = field(default="NotStarted", metadata=_OF_RUN)
    started: str = field(default="", metadata=_OF_RUN)
    ended: str = field(default="", metadata=_OF_RUN)
    next_attempt: str = field(default="", metadata=_OF_RUN)
    attempt: int = 0
    retries: int = field(default=0, metadata=_OF_RUN)
    waits: int = field(default=0, metadata=_OF_RUN)
    crashes: int = field(default=0, metadata=_OF_RUN)
    claim: str = field(default="", metadata=_OF_RUN)
    is_queued: bool = field(default=False, metadata=_OF_RUN)
    is_canceled: bool = field(default=False, metadata=_OF_RUN)
    tokens: tuple[str, ...] = ()
    stage: str = field(default="", metadata=_OF_RUN)
    compressed_bytes: int = field(default=0, metadata=_OF_RUN)
    compressed_bytes_total: int = field(default=0, metadata=_OF_RUN)
    rows: int = field(default=0, metadata=_OF_RUN)
    seconds: float = field(default=0.0, metadata=_OF_RUN)
    commit: str = ""
    error: str = field(default="", metadata=_OF_RUN)
    answer_status: int = field(default=0, metadata=_OF_RUN)
    answer_headers: str = field(default="", metadata=_OF_RUN)
    answer: str = field(default="", metadata=_OF_RUN)
    traceparent: str = ""
    backfill: str = ""
    is_held: bool = False
    is_stopped: bool = field(default=False, metadata=_OF_RUN)
    parallel: int = 0
    shares_chunks: bool = False
    phase: str = ""
    plan: str = ""
    left: str = field(default="", metadata=_OF_RUN)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def is_stale(self) -> bool:
        """Whether it was last written longer ago than `STALE_SECONDS`, by the Table service's clock."""
        if self.written is None or self.read is None:
            return False
        return (self.read - self.written).total_seconds() > STALE_SECONDS


def as_new() -> dict[str, Any]:
    """Return the attributes that let an operation that has ended wait again, as if it had not begun.

    The request stays, and so do the tokens, the count of attempts and the plan. A COMMIT whose outcome is unknown stays
    too: the server must still be asked for it.
    """
    return {one.name: one.default for one in fields(Operation) if one.metadata == _OF_RUN}


def now() -> str:
    """Return this machine's time in ISO 8601. Only for people: no decision depends on it."""
    return iso(datetime.now(timezone.utc))


def seconds_since(time: str) -> float | None:
    """Return the seconds since a time of `iso`, by this machine's clock; 0 if it is yet to come, None if it is no time.

    Only for people: no decision depends on it.
    """
    try:
        # Python before 3.11 reads no Z.
        ago = datetime.now(timezone.utc) - datetime.fromisoformat(time.replace("Z", "+00:00"))
    except (ValueError, TypeError):
        return None
    return max(0.0, ago.total_seconds())


def iso(time: datetime) -> str:
    """Return a time in ISO 8601, in a form that sorts by time."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
