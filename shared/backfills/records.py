"""The records of a backfill: the whole, a group of days that share chunks, a day. All are operations.

The ids of groups and days follow from the backfill's, so that creating them again changes nothing. A day is an
asynchronous restore like any other. It gets no message of its own: a message names a group.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from shared.backfills.request import Backfill
from shared.jobs.keys import row_below, stem_of_backfill
from shared.jobs.operation import BackfillOperation, DayOperation, GroupOperation
from shared.jobs.storage import JobStorage
from shared.jobs.store import OperationStore
from shared.model.calendar import DayState
from shared.model.request import OnExisting
from shared.model.stamp import now, stamp
from shared.restore.left import Left, decode_left


@dataclass(frozen=True)
class BackfillPlan:
    """What is to be done with each day. It is written before anything that follows from it.

    Attributes:
        round: 1, and one more for each retry.
        groups: days to restore in this round, as YYYY-MM-DD.
        missing: days without an archive.
        skipped: days that are left as they are, with the word for each.
        on_existing: what happens to rows of a day, where the day decides: with `existing` as "append" or "stale". A
            day that is not named is left as it is.
        existing: days to restore of which the table holds rows.
        sizes: of the archives, in bytes.
    """

    round: int = 1
    groups: list[list[str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    skipped: dict[str, DayState] = field(default_factory=dict)
    on_existing: dict[str, OnExisting] = field(default_factory=dict)
    existing: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


def decode_plan(text: str) -> BackfillPlan:
    """Read what `encode` wrote; an empty text is an empty plan."""
    if not text:
        return BackfillPlan(round=0)
    plan = json.loads(text)
    # A record of an older version names the days whose rows are replaced.
    replaced = plan.pop("replaced", ())
    return BackfillPlan(**{"on_existing": dict.fromkeys(replaced, "replace"), **plan})


@dataclass(frozen=True)
class GroupPlan:
    """What a group has to do.

    Attributes:
        days: oldest first, as YYYY-MM-DD.
        stops: whether a day that fails stops the backfill.
        compress_new_chunks: whether chunks that its days made are compressed at its end.
    """

    days: list[str]
    stops: bool
    compress_new_chunks: bool

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


def decode_group_plan(text: str) -> GroupPlan:
    """Read what `encode` wrote."""
    return GroupPlan(**json.loads(text))


def lefts_of(days: Sequence[DayOperation]) -> list[Left]:
    """Return what the days that are in have left to do."""
    return [decode_left(json.loads(day.left)) for day in days if day.status == "Succeeded" and day.left]


@dataclass(frozen=True)
class Records:
    """Where the records are."""

    days: OperationStore[DayOperation]
    groups: OperationStore[GroupOperation]
    backfills: OperationStore[BackfillOperation]

    @classmethod
    def of(cls, storage: JobStorage) -> Records:
        """Return those of the app's own storage account."""
        return cls(
            OperationStore(storage, DayOperation),
            OperationStore(storage, GroupOperation),
            OperationStore(storage, BackfillOperation),
        )

    def day(self, backfill: BackfillOperation, day: str) -> DayOperation:
        """Read the record of a day. Raises as `OperationStore.get`."""
        return self.days.at(_rows(backfill) + day)

    def days_of(self, backfill: BackfillOperation, days: Sequence[str]) -> list[DayOperation]:
        """Read the records of days, oldest first, with their texts: one request for all of them.

        A day without a record is left out.

        Args:
            backfill: the whole.
            days: oldest first, as YYYY-MM-DD. Days in between are read too, and dropped.
        """
        rows, wanted = _rows(backfill), frozenset(days)
        found = self.days.below(
            rows,
            "RowKey ge @first and RowKey le @last",
            texts=("request", "commit", "left", "error"),
            first=rows + days[0],
            last=rows + days[-1],
        )
        return [day for day in found if day.day in wanted]

    def all_days(self, backfill: BackfillOperation) -> list[DayOperation]:
        """List the days, oldest first, without the texts of requests and answers."""
        return self.days.below(_rows(backfill), texts=("left", "error"))

    def open_groups(self, backfill: BackfillOperation, *, most: int | None = None) -> list[GroupOperation]:
        """List the groups that have not ended."""
        return self.groups.below(_rows(backfill), "ended eq ''", most=most)

    def open_group_of(self, backfill: BackfillOperation, day: DayOperation) -> GroupOperation | None:
        """Find the group that a day waits for; None if it has ended."""
        found = self.groups.below(_rows(backfill), "ended eq ''", texts=("plan",))
        return next((group for group in found if day.day in decode_group_plan(group.plan).days), None)

    def answers_of_groups(self, backfill: BackfillOperation) -> list[GroupOperation]:
        """List all groups with what they did."""
        return self.groups.below(_rows(backfill), texts=("answer",))

    def next_group(self, backfill: BackfillOperation) -> GroupOperation | None:
        """Find the group whose turn it is; None if there is none, or if as many run as may run at once.

        All workers find the same group; the first one to write its record owns it. The active groups are read after it,
        so the owner has seen every group that was active before.
        """
        # The days of a stopped backfill end at once, also those of a group whose message is still hidden.
        waits = "status eq 'NotStarted'" + ("" if backfill.is_stopped else " and is_held eq true")
        time = stamp(self.groups.service_time())
        due = self.groups.below(
            _rows(backfill), f"{waits} and next_attempt le @time", texts=("plan",), most=1, time=time
        )
        found = due or sorted(
            self.groups.below(_rows(backfill), waits, texts=("plan",)), key=lambda one: one.next_attempt
        )
        if backfill.is_stopped:
            return next(iter(found), None)
        active = self.groups.below(_rows(backfill), "ended eq '' and is_held eq false", most=backfill.parallel)
        return found[0] if found and len(active) < backfill.parallel else None


def _rows(backfill: BackfillOperation) -> str:
    """Return what the rows of its days and groups begin with: the time of the backfill, so that it is one range."""
    return row_below(backfill.row_key, stem_of_backfill(backfill.id))


def backfill_record(backfill_id: str, request: str, backfill: Backfill, database: str) -> BackfillOperation:
    """Return the record of a backfill that is to be planned.

    Args:
        backfill_id: chosen by the client, or a UUID.
        request: as JSON. It holds no secret.
        backfill: the same, as it was checked.
        database: where the days go.
    """
    return BackfillOperation(
        id=backfill_id,
        request=request,
        archive=backfill.pattern.text,
        database=database,
        target_table=str(backfill.request_of(backfill.request.days[0]).target_table),
        created=now(),
        parallel=backfill.parallel,
        phase="plan",
    )


def day_record(
    backfill: BackfillOperation, day: str, archive: str, request: str, *, shares_chunks: bool
) -> DayOperation:
    """Return the record of a day that waits for its group.

    Args:
        backfill: the whole.
        day: YYYY-MM-DD.
        archive: URL of its archive.
        request: for this day alone, as JSON.
        shares_chunks: whether other days of its group are in the same chunks.
    """
    return DayOperation(
        id=stem_of_backfill(backfill.id) + day,
        request=request,
        archive=archive,
        database=backfill.database,
        target_table=backfill.target_table,
        day=day,
        created=now(),
        row_key=_rows(backfill) + day,
        backfill=backfill.id,
        shares_chunks=shares_chunks,
        traceparent=backfill.traceparent,
    )


def group_records(backfill: BackfillOperation, round_: int, plans: Sequence[GroupPlan]) -> list[GroupOperation]:
    """Return the records of the groups of a round, held until their turn."""
    return [
        GroupOperation(
            id=f"{stem_of_backfill(backfill.id)}{round_:04d}-{number:04d}",
            created=now(),
            row_key=f"{_rows(backfill)}{round_:04d}-{number:04d}",
            backfill=backfill.id,
            is_held=True,
            plan=plan.encode(),
            traceparent=backfill.traceparent,
        )
        for number, plan in enumerate(plans)
    ]
