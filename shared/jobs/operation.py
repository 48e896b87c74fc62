"""One operation behind the queue as it is recorded: what was asked, how far it is, how it ended. Pure data.

Each kind has a type, with the fields that it has:

| type                | kind       | what it is                                                                       |
|---------------------|------------|----------------------------------------------------------------------------------|
| `RestoreOperation`  | `restore`  | one day                                                                          |
| `DayOperation`      | `restore`  | one day of a backfill. It is recorded among the restores, and is one for callers |
| `GroupOperation`    | `group`    | the days of a backfill that share chunks. Callers do not see it                  |
| `BackfillOperation` | `backfill` | many days                                                                        |

`Operation` is what all of them have, and `AskedOperation` what those have that a caller asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias, cast

from typing_extensions import Self

from shared.api.call import new_request_id
from shared.model.monitor import Kind, Status
from shared.model.stamp import now
from shared.progress.progress import Progress

ENDED: tuple[Status, ...] = ("Succeeded", "Failed", "Canceled")
# In the path of a link or a blob, one dot and two are steps, and clients remove them (RFC 3986, 5.2.4).
OPERATION_ID = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)
# A worker writes a heartbeat every 5 s.
STALE_SECONDS = 120
# What is to be done next. A backfill that is in the phase `run` has no worker: its groups have.
BackfillPhase: TypeAlias = Literal["plan", "create", "run", "refresh"]
# How many attempts that failed are kept: about 2 KB, of the 64 KiB of a property.
MOST_ATTEMPTS = 20
# Marks a field that is reset for each run: from the time when an operation waits to its end.
_OF_RUN = {"of_run": True}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What is recorded of each operation. Texts that name a time are ISO 8601 in UTC.

    Attributes:
        kind: of all operations of the type.
        id: chosen by the client, or a UUID; of a day or a group it follows from the backfill's.
        row_key: of its entity.
        etag: of the entity as it was read. Each write names it, and fails if another writer came first.
        written: when the entity was written, by the Table service's clock.
        read: when it was read, by the same clock.
        status: what callers see.
        created: when the operation was created.
        started: when its first attempt began.
        ended: when it ended.
        next_attempt: when it is tried again.
        attempt: how many attempts have begun.
        retries: how many of them ended with an error that may pass.
        waits: how many of them ended with an error that has a schedule of its own.
        crashes: how many of them lost their worker.
        claim: names the attempt that works on it; empty if none does.
        is_queued: whether a message for it has been put into the queue since it last waited.
        is_canceled: whether a caller asked to cancel it.
        error: the last attempt's error, as the answer's JSON; empty if there was none.
        answer: what was answered or done at its end, as JSON.
        traceparent: the caller's trace context; empty if there was none.
    """

    kind: ClassVar[Kind]
    id: str
    created: str
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
    error: str = field(default="", metadata=_OF_RUN)
    answer: str = field(default="", metadata=_OF_RUN)
    traceparent: str = ""

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

    @property
    def is_held(self) -> bool:
        """Whether it gets no message of its own."""
        return False

    @property
    def is_to_end(self) -> bool:
        """Whether a caller's cancel ends what its worker does, and no further attempt follows."""
        return self.is_canceled

    @classmethod
    def type_of(cls, stored: Mapping[str, Any]) -> type[Self]:  # noqa: ARG003 - for those that differ
        """Return the type of a record of this kind, given what is stored."""
        return cls

    def claim_changes(self) -> dict[str, Any]:
        """Return the attributes that an attempt begins with."""
        return {}

    def progress_changes(self, progress: Progress) -> dict[str, Any]:  # noqa: ARG002 - likewise
        """Return the attributes in which a heartbeat writes how far an attempt is."""
        return {}

    def failure_changes(self, stage: str | None, code: str) -> dict[str, Any]:  # noqa: ARG002 - likewise
        """Return the attributes that keep the attempt among those that failed.

        Args:
            stage: in which it failed; None: none had begun.
            code: of its error.
        """
        return {}

    def loss_changes(self) -> dict[str, Any]:
        """Return the same for an attempt whose worker is lost; nothing if no worker has the operation."""
        return {}


@dataclass(frozen=True, kw_only=True)
class AskedOperation(Operation):
    """An operation that a caller asked for, and that has a result.

    Attributes:
        request: the checked request, as JSON. It holds no secret.
        archive: URL of the archive; of a backfill, with `{date}` where the day stands.
        database: the database that it names.
        target_table: schema and table.
        tokens: hashes of the tokens that open its result, newest last.
        outcome: the answer's `status` if it ended as Succeeded, else empty. A list does not read long answers.
        warned_of: the codes of its warnings, with blanks between them.
        answer_status: HTTP status of the synchronous answer; 0 before the end.
        answer_headers: its headers, as JSON. Its body is `answer`.
    """

    request: str
    archive: str
    database: str
    target_table: str
    tokens: tuple[str, ...] = ()
    outcome: str = field(default="", metadata=_OF_RUN)
    warned_of: str = field(default="", metadata=_OF_RUN)
    answer_status: int = field(default=0, metadata=_OF_RUN)
    answer_headers: str = field(default="", metadata=_OF_RUN)


@dataclass(frozen=True, kw_only=True)
class RestoreOperation(AskedOperation):
    """The restore of one day.

    Attributes:
        day: the archive's day.
        request_id: of the last attempt: names it in the log and in sessions of the server.
        stage: of the attempt.
        compressed_bytes: how much of the archive was read.
        compressed_bytes_total: length of the archive.
        csv_bytes: how much of the CSV PostgreSQL has received.
        csv_bytes_total: length of the CSV, once it is spooled.
        rows: how many rows were read.
        seconds: how long the attempt has run.
        commit: what is known of a COMMIT that was about to be sent, as JSON; empty before that, and once its outcome
            is known.
        attempts: the attempts that failed, oldest first, as JSON: the last `MOST_ATTEMPTS` of them.
    """

    kind: ClassVar[Kind] = "restore"
    day: str
    request_id: str = field(default="", metadata=_OF_RUN)
    stage: str = field(default="", metadata=_OF_RUN)
    compressed_bytes: int = field(default=0, metadata=_OF_RUN)
    compressed_bytes_total: int = field(default=0, metadata=_OF_RUN)
    csv_bytes: int = field(default=0, metadata=_OF_RUN)
    csv_bytes_total: int = field(default=0, metadata=_OF_RUN)
    rows: int = field(default=0, metadata=_OF_RUN)
    seconds: float = field(default=0.0, metadata=_OF_RUN)
    commit: str = ""
    attempts: str = ""

    @classmethod
    def type_of(cls, stored: Mapping[str, Any]) -> type[Self]:
        """Return the type of a restore: one that names a backfill is a day of it."""
        return cast("type[Self]", DayOperation) if stored.get("backfill") else cls

    def claim_changes(self) -> dict[str, Any]:
        """Return the attributes that an attempt begins with: its id, and no progress."""
        return {"request_id": new_request_id(), **self.progress_changes(Progress())}

    def progress_changes(self, progress: Progress) -> dict[str, Any]:
        """Return the attributes for the progress of a restore."""
        return {
            "stage": progress.stage_name or "",
            "compressed_bytes": progress.compressed_bytes,
            "compressed_bytes_total": progress.compressed_bytes_total or 0,
            "csv_bytes": progress.csv_bytes,
            "csv_bytes_total": progress.csv_bytes_total or 0,
            "rows": progress.rows or 0,
            "seconds": progress.seconds()["total"],
        }

    def failure_changes(self, stage: str | None, code: str) -> dict[str, Any]:
        """Return the attributes that keep the attempt among those that failed."""
        return self._with_attempt(stage, code)

    def loss_changes(self) -> dict[str, Any]:
        """Return the same for an attempt whose worker is lost; nothing if no worker has the operation."""
        return self._with_attempt(self.stage, None) if self.claim else {}

    def _with_attempt(self, stage: str | None, code: str | None) -> dict[str, Any]:
        failed = {"attempt": self.attempt, "ended": now(), "stage": stage or None, "code": code}
        return {"attempts": json.dumps([*json.loads(self.attempts or "[]"), failed][-MOST_ATTEMPTS:])}


@dataclass(frozen=True, kw_only=True)
class DayOperation(RestoreOperation):
    """The restore of one day of a backfill. Its group works on it.

    Attributes:
        backfill: id of the backfill.
        shares_chunks: whether its chunks hold other days of its group, too.
        left: what its load leaves to its group and its backfill, as JSON; empty if it has loaded nothing.
    """

    backfill: str
    shares_chunks: bool = False
    left: str = field(default="", metadata=_OF_RUN)

    @property
    def is_held(self) -> bool:
        """A message names the group, never a day of it."""
        return True


@dataclass(frozen=True, kw_only=True)
class GroupOperation(Operation):
    """The days of a backfill that share chunks. One worker restores them, one after the other.

    Attributes:
        kind: its own.
        backfill: id of the backfill.
        is_held: whether its turn has not come: until then it gets no message.
        plan: a `GroupPlan`, as JSON.
    """

    kind: ClassVar[Kind] = "group"
    backfill: str
    is_held: bool = False
    plan: str = ""


@dataclass(frozen=True, kw_only=True)
class BackfillOperation(AskedOperation):
    """Many days of one table.

    Attributes:
        kind: its own.
        is_stopped: whether no further day is to start.
        parallel: how many groups run at once.
        phase: what is to be done next.
        plan: a `BackfillPlan`, as JSON; empty before the first one is made.
    """

    kind: ClassVar[Kind] = "backfill"
    is_stopped: bool = field(default=False, metadata=_OF_RUN)
    parallel: int
    phase: BackfillPhase
    plan: str = ""

    @property
    def is_to_end(self) -> bool:
        """A cancel ends its first plan, before which no day can be in. After that it is for the days that run.

        The days that are in leave their aggregates to be refreshed.
        """
        return self.is_canceled and not self.plan


PartOfBackfill: TypeAlias = DayOperation | GroupOperation
TYPES: Mapping[Kind, type[Operation]] = {one.kind: one for one in (RestoreOperation, GroupOperation, BackfillOperation)}


def as_new(operation: Operation) -> dict[str, Any]:
    """Return the attributes that let an operation that has ended wait again, as if it had not begun.

    The request stays, and so do the tokens, the count of attempts and the plan. A COMMIT whose outcome is unknown stays
    too: the server must still be asked for it.
    """
    return {one.name: one.default for one in fields(operation) if one.metadata == _OF_RUN}
