"""Refreshes the continuous aggregates over the target, in order, over the whole buckets that the loaded days touch.

`refresh_continuous_aggregate` refreshes only buckets that lie wholly inside its window, and a window
smaller than one bucket raises 22023 (measured on 2.29.2). So each span is widened to each aggregate's own buckets. An
aggregate on top of another is refreshed after it, over the spans of that one's buckets.

A refresh computes the buckets that TimescaleDB's log of changes names. The log misses buckets of a time zone or of
months (https://github.com/timescale/timescaledb/issues/10296) and all rows that COPY stores one by one, under some
triggers (read in src/copy.c of 2.28.3; both measured there). So the refresh is by force. No other bucket is refreshed:
one whose rows were dropped since would be computed from none.

The refresh runs after the load's commit, in autocommit: the CALL raises 25001 inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from psycopg2 import sql

from shared.errors import CaggNotFound, OperationNotSupported, RestoreError
from shared.model.results import CaggStep, Notice
from shared.model.window import TimeKind, Window, iso
from shared.names import QualifiedName, parse_qualified_name
from shared.postgres.connect import Connection, Cursor
from shared.postgres.savepoint import Attempt
from shared.postgres.search_path import by_users_path
from shared.postgres.session import attempt_in_autocommit
from shared.timescale.chunks import chunks_overlapping, range_columns
from shared.timescale.privileges import name_missing, to_refresh
from shared.timescale.retention import find_retention
from shared.timescale.table import Table, TimescaleDB, find_table
from shared.timescale.triggers import copies_one_by_one

Chosen: TypeAlias = Literal["all"] | Sequence[str]

_REFRESH = "refresh_continuous_aggregate"

# From this version on, continuous_aggs_bucket_function has a row for every aggregate, with these columns (read from
# the tagged sources of 2.11 - 2.29).
_CATALOGUE_SINCE = (2, 16)
# From this version on, refresh_continuous_aggregate has the argument `force` (read in sql/updates/2.17.2--2.18.0.sql).
_FORCE_SINCE = (2, 18)
# From this version on, COPY itself logs what it changes; before, a trigger did (read in CHANGELOG.md, #8769).
_COPY_LOGS_SINCE = (2, 23)

_SQL_TYPES: dict[TimeKind, sql.SQL] = {
    "timestamptz": sql.SQL("timestamp with time zone"),
    "timestamp": sql.SQL("timestamp without time zone"),
    "date": sql.SQL("pg_catalog.date"),
    "integer": sql.SQL("bigint"),
    # TimescaleDB 2.24 and newer buckets a UUID by its time, and refuses a window of UUIDs.
    "uuid": sql.SQL("timestamp with time zone"),
}


@dataclass(frozen=True)
class Cagg:
    """A continuous aggregate and its bucket function, from TimescaleDB's catalogue.

    Attributes:
        name: its name.
        is_of_owner: whether the owner of the hypertable owns it.
        hypertable_id: of its materialization.
        source_id: of the hypertable or materialization that it reads.
        width: of a bucket.
        origin: of the buckets.
        offset: of the buckets.
        timezone: of the buckets.
    """

    name: QualifiedName
    is_of_owner: bool
    hypertable_id: int
    source_id: int
    width: str
    origin: str | None
    offset: str | None
    timezone: str | None


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
    """Whether the target can have continuous aggregates whose buckets the catalogue describes."""
    extension = table.timescaledb
    return (
        extension is not None
        and extension.is_community
        and table.hypertable_id is not None
        and extension.at_least(*_CATALOGUE_SINCE)
    )


def find_unlogged(cursor: Cursor, table: Table, chosen: Chosen, day: Window) -> tuple[Notice, ...]:
    """Warn of the aggregates that will not know of the rows which a COPY has stored one by one.

    Args:
        cursor: in any transaction.
        table: the target.
        chosen: the aggregates that are refreshed after the load, which need no log.
        day: the span that is loaded.
    """
    extension = table.timescaledb
    if not caggs_available(table) or extension is None or not extension.at_least(*_COPY_LOGS_SINCE):
        return ()
    if not copies_one_by_one(cursor, table.oid):
        return ()
    caggs = [cagg for cagg in _caggs_over(cursor, table) if cagg.source_id == table.hypertable_id]
    wanted, _ = _choose(caggs, chosen)
    notices = []
    for cagg in caggs:
        if cagg in wanted:
            continue
        call = _refresh_call(cursor, table, extension, cagg, _widen(extension, cagg, day, cursor), by_force=True)
        reason = "under this table's triggers COPY logs no changes for aggregates"
        notices.append(
            Notice(
                "ChangesNotLogged", f"{cagg.name} will not know of the rows: {reason}; run: {call.as_string(cursor)}"
            )
        )
    return tuple(notices)


def plan_refresh(
    attempt: Attempt, table: Table, spans: Sequence[Window], chosen: Chosen
) -> tuple[list[PlannedRefresh], tuple[Notice, ...]]:
    """Find the requested aggregates, parents first, and their windows. A failure affects only its own aggregate.

    Args:
        attempt: runs queries, and returns their errors.
        table: the hypertable; `caggs_available(table)` is true.
        spans: what is loaded, in the time column's type.
        chosen: "all", or names as the request has them.

    Returns:
        The aggregates to refresh, in order, once for each of their windows. Names of none come last. And a warning of
        those that "all" leaves out.
    """
    extension = table.timescaledb
    caggs, error = attempt(lambda cursor: _caggs_over(cursor, table))
    if caggs is None or extension is None:
        return [PlannedRefresh(name, error=error) for name in (("all",) if chosen == "all" else chosen)], ()
    wanted, missing = _choose(caggs, chosen)
    reached: dict[int, Sequence[Window]] = {table.hypertable_id or 0: spans}
    planned = []
    for cagg in caggs:
        sources = reached[cagg.source_id]
        windows, error = attempt(partial(_widen_all, extension, cagg, sources))
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


def _caggs_over(cursor: Cursor, table: Table) -> list[Cagg]:
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


def _choose(caggs: Sequence[Cagg], chosen: Chosen) -> tuple[list[Cagg], list[tuple[str, RestoreError]]]:
    if chosen == "all":
        # Anybody who may read the table can make another one, which would then be computed with this role's rights.
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


def _widen_all(extension: TimescaleDB, cagg: Cagg, spans: Sequence[Window], cursor: Cursor) -> list[Window]:
    """Widen spans to whole buckets, and join those that meet."""
    joined: list[Window] = []
    for window in sorted((_widen(extension, cagg, span, cursor) for span in spans), key=lambda span: span.lower):
        if joined and window.lower <= joined[-1].upper:  # type: ignore[operator] # of one kind
            upper = max(window.upper, joined[-1].upper)
            joined[-1] = replace(joined[-1], upper=upper)
        else:
            joined.append(window)
    return joined


# The furthest that a bucket's end lies from its start plus the width in local time: a clock that changes moves it by an
# hour or two, and a zone that changes sides of the date line by a day.
_END_CANDIDATES = sql.SQL("pg_catalog.generate_series(-4 * 60, 26 * 60, 15)")
# What Python and psycopg2 can hold.
_FIRST_TIME, _LAST_TIME = sql.Literal("0001-01-02"), sql.Literal("9999-12-30")


def _widen(extension: TimescaleDB, cagg: Cagg, window: Window, cursor: Cursor) -> Window:
    """Widen a window to whole buckets, by TimescaleDB's own time_bucket.

    With months and time zones, buckets differ in length. So the end is the first start of a bucket behind the last one,
    searched around that one's start plus its width in local time: an offset or an origin is added to the local
    midnight, so on a day when clocks change that sum is no start of a bucket.
    """
    type_ = _SQL_TYPES[window.kind]
    first = _bucket(extension, cagg, window.kind, sql.Literal(window.lower))
    last = _bucket(extension, cagg, window.kind, sql.Literal(window.last))
    width = sql.SQL("{}::{}").format(
        sql.Literal(cagg.width), sql.SQL("bigint" if window.kind == "integer" else "interval")
    )
    if window.kind == "integer":
        statement = sql.SQL("SELECT ({first})::{type}, ({last} + {width})::{type}")
    elif window.kind not in ("timestamptz", "uuid"):
        statement = sql.SQL(
            "SELECT greatest({first}, {least})::{type}, least(({last} + {width})::{type}, {greatest})::{type}"
        )
    else:
        statement = sql.SQL(
            "SELECT greatest({first}, {least})::{type}, least((SELECT min(b.start) FROM {candidates} AS minute,"
            " LATERAL (SELECT {start} AS start) AS b WHERE b.start > {last}), {greatest})::{type}"
        )
    zone = sql.Literal(cagg.timezone or "UTC")
    around = sql.SQL(
        "({last} AT TIME ZONE {zone} + {width}) AT TIME ZONE {zone} + minute * pg_catalog.make_interval(mins => 1)"
    ).format(last=last, zone=zone, width=width)
    cursor.execute(
        statement.format(
            first=first,
            last=last,
            width=width,
            type=type_,
            least=_FIRST_TIME,
            greatest=_LAST_TIME,
            candidates=_END_CANDIDATES,
            start=_bucket(extension, cagg, window.kind, around),
        )
    )
    row = cursor.fetchone()
    lower, upper = row if row is not None else (window.lower, window.upper)
    return Window(window.kind, lower, upper)


def _bucket(extension: TimescaleDB, cagg: Cagg, kind: TimeKind, at: sql.Composable) -> sql.Composed:
    type_ = _SQL_TYPES[kind]
    unit = sql.SQL("bigint" if kind == "integer" else "interval")
    arguments = [
        sql.SQL("{}::{}").format(sql.Literal(cagg.width), unit),
        sql.SQL("({})::{}").format(at, type_),
    ]
    # With all arguments, and of their types, only TimescaleDB's own function matches best. Others may create one of the
    # same name where the extension is in `public`.
    if cagg.timezone is not None:
        arguments.append(sql.SQL("{}::text").format(sql.Literal(cagg.timezone)))
    if cagg.origin is not None or cagg.timezone is not None:
        arguments.append(sql.SQL("{}::{}").format(sql.Literal(cagg.origin), type_))
    if cagg.offset is not None or cagg.timezone is not None:
        arguments.append(sql.SQL("{}::{}").format(sql.Literal(cagg.offset), unit))
    return sql.SQL("{}({})").format(extension.function("time_bucket"), sql.SQL(", ").join(arguments))


def refresh(
    connection: Connection, table: Table, day: Window | None, spans: Sequence[Window], chosen: Chosen
) -> tuple[list[CaggStep], tuple[Notice, ...]]:
    """Refresh aggregates after the load's commit. A failure affects only its own aggregate.

    Args:
        connection: in autocommit.
        table: the table that was loaded.
        day: the day that was loaded, in the time column's type; None if it is unknown.
        spans: what was really loaded.
        chosen: "all", or names as the request has them.

    Returns:
        One step for each aggregate and span, in the order of the refreshes. Names of no aggregate over the table come
        last. And a warning of those that "all" leaves out.
    """
    extension = table.timescaledb
    if not caggs_available(table) or extension is None or day is None:
        return [CaggStep(name, "not available") for name in ([] if chosen == "all" else chosen)], ()
    steps = []
    attempt = partial(attempt_in_autocommit, connection)
    plan, notices = plan_refresh(attempt, table, spans, chosen)
    for planned in plan:
        if planned.cagg is None or planned.window is None:
            step = CaggStep(planned.name, "failed", error=planned.error)
        else:
            step = _refresh_one(connection, table, extension, planned.cagg, planned.window, day)
        rights = to_refresh(names_of([planned]), extension)
        steps.append(replace(step, error=name_missing(step.error, attempt, rights)))
    return steps, notices


def _refresh_one(
    connection: Connection,
    table: Table,
    extension: TimescaleDB,
    cagg: Cagg,
    window: Window,
    day: Window,
) -> CaggStep:
    def call(cursor: Cursor) -> tuple[tuple[str | int, str | int], ...]:
        gaps = gaps_in(cursor, table, window, day)
        by_force = extension.at_least(*_FORCE_SINCE)
        statement = _refresh_call(cursor, table, extension, cagg, window, by_force=by_force)
        cursor.execute(by_users_path(statement))
        return gaps

    other, error = attempt_in_autocommit(connection, partial(_find_others_procedure, extension))
    if other is not None:
        error = OperationNotSupported(
            f"{other} is not TimescaleDB's, and would be called in its place",
            hint="drop it, or move it to another schema than that of the extension",
        )
    gaps: tuple[tuple[str | int, str | int], ...] | None = None
    if error is None:
        gaps, error = attempt_in_autocommit(connection, call)
    bounds = (iso(window.lower), iso(window.upper))
    if error is not None:
        return CaggStep(str(cagg.name), "failed", bounds, error)
    retention, _ = attempt_in_autocommit(connection, partial(_retention, table, cagg, window))
    return CaggStep(str(cagg.name), "done", bounds, None, gaps or (), retention or ())


def _refresh_call(
    cursor: Cursor, table: Table, extension: TimescaleDB, cagg: Cagg, window: Window, *, by_force: bool
) -> sql.Composed:
    name = sql.Identifier(str(cagg.name.schema), cagg.name.name).as_string(cursor)
    # The column's own type: an aggregate over an int column refuses bigint bounds.
    type_ = _SQL_TYPES["uuid"] if window.kind == "uuid" else table.time_sql
    return sql.SQL("CALL {}({}::pg_catalog.regclass, {}::{}, {}::{}{})").format(
        extension.function(_REFRESH),
        sql.Literal(name),
        sql.Literal(iso(window.lower)),
        type_,
        sql.Literal(iso(window.upper)),
        type_,
        sql.SQL(", force => true" if by_force else ""),
    )


def _find_others_procedure(extension: TimescaleDB, cursor: Cursor) -> str | None:
    """Find a procedure in the extension's schema that is not TimescaleDB's, and may match the call of a refresh better.

    Two arguments of TimescaleDB's own one are of any type.
    """
    cursor.execute(
        "SELECT p.oid::pg_catalog.regprocedure::text FROM pg_catalog.pg_proc p"
        " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = %s AND p.proname = %s AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
        "  JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'timescaledb'"
        "  WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid"
        "  AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e') LIMIT 1",
        (extension.schema, _REFRESH),
    )
    row = cursor.fetchone()
    return None if row is None else row[0]


def _retention(table: Table, cagg: Cagg, window: Window, cursor: Cursor) -> tuple[Notice, ...]:
    """Warn of the aggregate's own retention policies, which may drop its buckets sooner than the table's rows go."""
    cursor.execute(
        "SELECT schema_name, table_name FROM _timescaledb_catalog.hypertable WHERE id = %s", (cagg.hypertable_id,)
    )
    ((schema, name),) = cursor.fetchall()
    # It has no integer_now_func of its own.
    own = replace(find_table(cursor, QualifiedName(schema, name)), integer_now=table.integer_now)
    chunks = chunks_overlapping(cursor, own, window)
    found = find_retention(cursor, own, window, chunks) if chunks else ()
    return tuple(replace(policy, table=str(cagg.name)).notice for policy in found)


def gaps_in(cursor: Cursor, table: Table, window: Window, day: Window) -> tuple[tuple[str | int, str | int], ...]:
    """Return the spans of the window, up to now, that lie outside the day and have no chunk.

    A bucket with such a gap is computed from fewer rows than before. For example, a week that was aggregated before its
    days were archived and dropped shrinks to the one restored day.
    """
    lower, upper = window.chunk_bounds
    day_lower, day_upper = day.chunk_bounds
    now = sql.Literal(table.integer_now) if window.kind == "integer" else sql.SQL("pg_catalog.now()")
    cursor.execute(
        sql.SQL(
            "WITH chunk AS (SELECT DISTINCT {start} AS lower, {end} AS upper FROM timescaledb_information.chunks"
            " WHERE hypertable_schema = {schema} AND hypertable_name = {name}"
            " AND {start} < {upper} AND {end} > {lower}"
            " UNION ALL SELECT {day_lower}, {day_upper}"
            " UNION ALL SELECT {lower}, {lower}"
            " UNION ALL SELECT least({now}, {upper}), {upper}),"
            " swept AS (SELECT lower, max(upper) OVER (ORDER BY lower, upper"
            "  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS covered FROM chunk)"
            " SELECT covered, lower FROM swept WHERE lower > covered ORDER BY 1"
        ).format(
            now=now,
            schema=sql.Literal(table.schema),
            name=sql.Literal(table.name),
            lower=sql.Literal(lower),
            upper=sql.Literal(upper),
            day_lower=sql.Literal(day_lower),
            day_upper=sql.Literal(day_upper),
            **range_columns(window),
        )
    )
    return tuple((iso(lower), iso(upper)) for lower, upper in cursor.fetchall())
