"""Checks before the first row: whether the load may begin, and whether the target accepts rows of the day.

`CHECKS` is the one list of these checks, in order: the load walks it before it writes, and the dry run walks the
same one. Nothing is written. A refusal is certain: the load would end with it. PostgreSQL decides the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeAlias

from shared.errors import MissingRight, RestoreError, TargetNotAllowed
from shared.load.day import Day
from shared.load.inspect.rights import missing_rights
from shared.load.refusals import (
    chunks_frozen,
    columns_without_value,
    copy_under_policies,
    day_in_children,
    day_not_empty,
    no_partition,
    parts_not_allowed,
    rights_missing,
    server_read_only,
)
from shared.load.target.target import Target
from shared.model.request import RestoreRequest
from shared.model.results import CheckName, Count, NotChecked
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import attempt_in_savepoint
from shared.settings import Settings
from shared.timescale.ancestry import written_parts
from shared.timescale.chunks import FrozenChunk, frozen_chunks
from shared.timescale.partitions import leaf_partitions, partitions_over, takes_whole_window
from shared.timescale.privileges import can_read, policies_apply
from shared.timescale.required import required_columns
from shared.timescale.rows_of_days import count_in_children
from shared.timescale.table import has_insert_rule
from shared.timescale.triggers import has_before_triggers

# A replica that has run for longer is not the old primary of a failover under way: most failovers take about a minute.
FAILOVER_TIME = "10 min"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        refusal: the error with which the load would end; None: none is known.
        unsure: what the check left open.
    """

    refusal: RestoreError | None = None
    unsure: NotChecked | None = None


@dataclass(frozen=True)
class Situation:
    """What a check knows, and may query.

    Attributes:
        cursor: in any transaction that sees the present.
        day: what is loaded.
        target: where the rows go.
        existing: rows of the day; None if they were not counted.
    """

    cursor: Cursor
    day: Day
    target: Target
    existing: Count | None

    @property
    def request(self) -> RestoreRequest:
        """What is restored, and how."""
        return self.day.request

    @cached_property
    def missing(self) -> list[MissingRight]:
        """The rights that the role lacks to load the day, those of best-effort steps included."""
        rows = None if self.existing is None else self.existing.rows
        return missing_rights(self.cursor, self.request, self.target, rows)

    @property
    def has_rows(self) -> bool:
        """Whether at least one row of the file comes as far as the target."""
        return self.target.has_rows and self.request.copy_.on_error == "stop"

    @property
    def has_only_rows_of_day(self) -> bool:
        """Whether every loaded row is of the day: others are refused, and no row gets its time from a default."""
        return self.request.refuses_rows_outside and self.target.table.time_column in self.target.columns.loaded


# None: the check was not possible.
Look: TypeAlias = Callable[[Situation], "Finding | None"]


def look_at_day(now: Situation) -> Finding | None:
    """Check whether the request refuses a day that holds rows."""
    request, target, existing = now.request, now.target, now.existing
    if existing is not None and target.window is not None:
        refusal: RestoreError | None = day_not_empty(request, target.table, existing.rows)
        if refusal is None:
            in_children = count_in_children(now.cursor, target.table, target.window)
            refusal = day_in_children(request, target.table, in_children)
        return Finding(refusal)
    # There is nothing to refuse, or a table that must be empty was found to be.
    return Finding() if request.destination.existing_rows == "append" or target.window is None else None


def look_at_rights(now: Situation) -> Finding:
    """Check for missing rights without which the restore fails."""
    return Finding(rights_missing(now.missing))


def look_at_server(cursor: Cursor) -> RestoreError | None:
    """Return the error of a server that takes no writes."""
    cursor.execute(
        "SELECT pg_catalog.pg_is_in_recovery(),"
        " pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time() < %s::interval,"
        " CASE WHEN pg_catalog.current_setting('default_transaction_read_only') = 'on' THEN"
        " (SELECT source FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only') END",
        (FAILOVER_TIME,),
    )
    ((is_replica, is_new, read_only_by),) = cursor.fetchall()
    return server_read_only(is_replica=is_replica, is_new=is_new, read_only_by=read_only_by)


def look_at_policies(now: Situation) -> Finding:
    """Check whether row-level security applies to a COPY into the target."""
    target = now.target
    if target.columns.by_staging:
        return Finding()
    return Finding(copy_under_policies(target.table) if policies_apply(now.cursor, target.table.oid) else None)


def look_at_columns(now: Situation) -> Finding:
    """Check for columns that must not be null and that the file lacks."""
    cursor, target = now.cursor, now.target
    table, plan = target.table, target.columns
    stages = plan.by_staging
    staged: tuple[str, ...] = ()
    if stages:
        # No trigger fires on the staging table, and its generated columns are plain ones.
        lacking = [column.name for column in target.like.columns if not column.is_generated]
        staged = required_columns(cursor, target.like.oid, [name for name in lacking if name not in plan.file_columns])
    if staged and target.has_rows:
        return Finding(columns_without_value(staged, now.request.copy_))
    lacking_in_table = required_columns(cursor, table.oid, plan.defaulted)
    if not lacking_in_table or not target.has_rows:
        return Finding()
    changes = has_before_triggers(cursor, table.oid) or (stages and has_insert_rule(cursor, table))
    if changes:
        return Finding(unsure=NotChecked("columns", "a trigger or rule may fill the columns that the file lacks"))
    if not now.has_rows:
        return Finding(unsure=NotChecked("columns", "all rows may be left out before they lack a column"))
    return Finding(columns_without_value(lacking_in_table, now.request.copy_))


def look_at_partition(now: Situation) -> Finding:
    """Check whether a partitioned target has a partition for the day."""
    cursor, table, window = now.cursor, now.target.table, now.target.window
    if window is None or not can_read(cursor, table):
        return Finding(unsure=NotChecked("partition", "the role may not read the time column, or there is none"))
    partitions = partitions_over(cursor, table, window)
    if partitions is None:
        return Finding()
    if not partitions.constraints:
        if now.has_rows and now.has_only_rows_of_day:
            return Finding(no_partition(table, now.request.archive.day))
        return Finding(unsure=NotChecked("partition", "the day has none, and there may be no rows of the day"))
    if takes_whole_window(cursor, table, window, partitions):
        return Finding()
    return Finding(unsure=NotChecked("partition", "one may be missing for some of the day's rows"))


def look_at_parts(now: Situation) -> Finding:
    """Check whether rows of the day go into partitions that ALLOWED_TARGETS does not list."""
    cursor, settings, table, window = now.cursor, now.day.settings, now.target.table, now.target.window
    if settings.allowed_targets is None or table.hypertable_id is not None:
        return Finding()
    parts = leaf_partitions(cursor, table)
    if all(map(settings.allows, parts)):
        return Finding()
    if window is not None and can_read(cursor, table) and now.has_only_rows_of_day:
        over_day = partitions_over(cursor, table, window)
        parts = parts if over_day is None else over_day.names
    refused = [part for part in parts if not settings.allows(part)]
    if refused and len(refused) == len(parts) and now.has_rows:
        return Finding(parts_not_allowed(table, refused))
    if not refused:
        return Finding()
    names = ", ".join(map(str, refused))
    return Finding(unsure=NotChecked("partition", f"rows may go into {names}, which ALLOWED_TARGETS does not list"))


def parts_refused(cursor: Cursor, target: Target, settings: Settings) -> TargetNotAllowed | None:
    """Return the error of a load that has written to parts of the target that ALLOWED_TARGETS does not list.

    Chunks are a part of their hypertable.

    Args:
        cursor: in the load's transaction.
        target: the target.
        settings: have the list.
    """
    if settings.allowed_targets is None or target.table.hypertable_id is not None:
        return None
    written = written_parts(cursor, target.table.oid)
    return parts_not_allowed(target.table, [part for part in written if not settings.allows(part)])


def look_at_chunks(now: Situation) -> Finding:
    """Check for frozen chunks over the day."""
    found, error = attempt_in_savepoint(now.cursor, "frozen chunks", partial(_frozen, now.target))
    if error is not None or found is None:
        return Finding(unsure=NotChecked("chunks", "the role may not ask whether a chunk is frozen"))
    replaces = now.request.destination.existing_rows == "replace"
    certain = [
        one.chunk
        for one in found
        if (replaces and one.holds_rows) or (one.takes_whole_window and now.has_rows and now.has_only_rows_of_day)
    ]
    if certain or not found:
        return Finding(chunks_frozen(certain))
    names = ", ".join(str(one.chunk) for one in found)
    return Finding(unsure=NotChecked("chunks", f"{names} is frozen, and rows of the archive may belong in it"))


CHECKS: tuple[tuple[CheckName | None, Look], ...] = (
    ("existing", look_at_day),
    ("rights", look_at_rights),
    # The dry run's answer has no name for it.
    (None, lambda now: Finding(look_at_server(now.cursor))),
    ("rights", look_at_policies),
    ("columns", look_at_columns),
    ("partition", look_at_partition),
    ("chunks", look_at_chunks),
    ("partition", look_at_parts),
)


def _frozen(target: Target, cursor: Cursor) -> tuple[FrozenChunk, ...]:
    return () if target.window is None else frozen_chunks(cursor, target.table, target.chunks, target.window)
