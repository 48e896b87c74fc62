"""Finds the continuous aggregates over the target, in order, and the whole buckets that the loaded days touch.

`refresh_continuous_aggregate` refreshes only buckets that lie wholly inside its window, and a window
smaller than one bucket raises 22023 (measured on 2.29.2). So each span is widened to each aggregate's own buckets. An
aggregate on top of another is refreshed after it, over the spans of that one's buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from shared.errors import CaggNotFound, RestoreError
from shared.model.results import Notice
from shared.model.window import Window
from shared.names import QualifiedName, parse_qualified_name
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import RunsOptional
from shared.timescale.cagg_buckets import Cagg, widen_all
from shared.timescale.table import Table

Chosen: TypeAlias = Literal["all"] | Sequence[str]

# From this version on, refresh_continuous_aggregate has the argument `force` (read in sql/updates/2.17.2--2.18.0.sql).
# Without it a refresh may leave buckets as they were, without a sign. From 2.16 on, continuous_aggs_bucket_function
# has a row for every aggregate, with these columns (read from the tagged sources of 2.11 - 2.29).
_FORCE_SINCE = (2, 18)


@dataclass(frozen=True)
class PlannedRefresh:
    """A span of an aggregate to refresh, or why it cannot be refreshed.

    Attributes:
        name: as in the catalogue; as in the request if there is no such aggregate.
        cagg: the aggregate.
        window: its whole buckets over what was loaded.
        error: why there is no window.
    """

    name: str
    cagg: Cagg | None = None
    window: Window | None = None
    error: RestoreError | None = None


def caggs_available(table: Table) -> bool:
    """Whether the target can have continuous aggregates that can be refreshed by force."""
    extension = table.timescaledb
    return (
        extension is not None
        and extension.is_community
        and table.hypertable_id is not None
        and extension.at_least(*_FORCE_SINCE)
    )


def plan_refresh(
    run_optional: RunsOptional, table: Table, spans: Sequence[Window], chosen: Chosen
) -> tuple[list[PlannedRefresh], tuple[Notice, ...]]:
    """Find the requested aggregates, parents first, and their windows. A failure affects only its own aggregate.

    Args:
        run_optional: runs queries, and returns their errors.
        table: the hypertable; `caggs_available(table)` is true.
        spans: what is loaded, in the time column's type.
        chosen: "all", or names as the request has them.

    Returns:
        The aggregates to refresh, in order, once for each of their windows. Names of none come last. And a warning of
        those that "all" leaves out.
    """
    extension = table.timescaledb
    caggs, error = run_optional(lambda cursor: caggs_over(cursor, table))
    if caggs is None or extension is None:
        return [PlannedRefresh(name, error=error) for name in (("all",) if chosen == "all" else chosen)], ()
    wanted, missing = choose(caggs, chosen)
    reached: dict[int, Sequence[Window]] = {table.hypertable_id or 0: spans}
    planned = []
    for cagg in caggs:
        sources = reached[cagg.source_id]
        windows, error = run_optional(partial(widen_all, extension, cagg, sources))
        # If this one failed, aggregates on top of it start from its source.
        reached[cagg.hypertable_id] = sources if windows is None else windows
        if cagg in wanted and windows is None:
            planned.append(PlannedRefresh(str(cagg.name), cagg, error=error))
        elif cagg in wanted and windows is not None:
            planned += [PlannedRefresh(str(cagg.name), cagg, window) for window in windows]
    notices = _of_other_owners(caggs) if chosen == "all" else ()
    return planned + [PlannedRefresh(name, error=error) for name, error in missing], notices


def _of_other_owners(caggs: Sequence[Cagg]) -> tuple[Notice, ...]:
    names = ", ".join(str(cagg.name) for cagg in caggs if not cagg.is_of_owner)
    if not names:
        return ()
    message = (
        f'refresh_caggs "all" leaves out aggregates that the table\'s owner does not own: {names}; name them there'
    )
    return (Notice("CaggsNotRefreshed", message),)


def names_of(planned: Sequence[PlannedRefresh]) -> list[QualifiedName]:
    """Return the names of the aggregates that were found."""
    return [plan.cagg.name for plan in planned if plan.cagg is not None]


def caggs_over(cursor: Cursor, table: Table) -> list[Cagg]:
    """List the aggregates over a hypertable, directly or on top of others, parents first."""
    cursor.execute(
        "WITH RECURSIVE above AS ("
        " SELECT mat_hypertable_id, raw_hypertable_id, user_view_schema, user_view_name, 1 AS depth"
        "  FROM _timescaledb_catalog.continuous_agg WHERE raw_hypertable_id = %s"
        " UNION ALL"
        " SELECT c.mat_hypertable_id, c.raw_hypertable_id, c.user_view_schema, c.user_view_name, a.depth + 1"
        "  FROM _timescaledb_catalog.continuous_agg c JOIN above a ON c.raw_hypertable_id = a.mat_hypertable_id)"
        " SELECT a.user_view_schema, a.user_view_name, v.relowner = t.relowner,"
        "  a.mat_hypertable_id, a.raw_hypertable_id,"
        "  b.bucket_width, b.bucket_origin, b.bucket_offset, b.bucket_timezone"
        " FROM above a"
        " JOIN _timescaledb_catalog.continuous_aggs_bucket_function b ON b.mat_hypertable_id = a.mat_hypertable_id"
        " JOIN pg_catalog.pg_namespace n ON n.nspname = a.user_view_schema"
        " JOIN pg_catalog.pg_class v ON v.relnamespace = n.oid AND v.relname = a.user_view_name"
        " JOIN pg_catalog.pg_class t ON t.oid = %s"
        " ORDER BY a.depth, a.user_view_schema, a.user_view_name",
        (table.hypertable_id, table.oid),
    )
    return [Cagg(QualifiedName(row[0], row[1]), *row[2:]) for row in cursor.fetchall()]


def choose(caggs: Sequence[Cagg], chosen: Chosen) -> tuple[list[Cagg], list[tuple[str, RestoreError]]]:
    """Return the aggregates that a request names, and an error for each name that is not one of them."""
    if chosen == "all":
        # Anybody who may read the table can create an aggregate over it, which would then be computed with this role's
        # rights.
        return [cagg for cagg in caggs if cagg.is_of_owner], []
    wanted: list[Cagg] = []
    missing: list[tuple[str, RestoreError]] = []
    for text in chosen:
        name = parse_qualified_name(text)
        named = [c for c in caggs if c.name.name == name.name and name.schema in (None, c.name.schema)]
        if len(named) == 1:
            wanted.append(named[0])
        else:
            reason = "no continuous aggregate over the table has" if not named else "more than one has"
            missing.append((text, CaggNotFound(f"{reason} the name {text}")))
    return wanted, missing
