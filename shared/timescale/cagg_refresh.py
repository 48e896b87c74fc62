"""Refreshes the continuous aggregates over the target, over the whole buckets that the loaded days touch.

A refresh computes the buckets that TimescaleDB's log of changes names. The log misses buckets of a time zone or of
months (https://github.com/timescale/timescaledb/issues/10296) and all rows that COPY stores one by one, under some
triggers (read in src/copy.c of 2.28.3; both measured there). So the refresh is by force. No other bucket is refreshed:
a bucket whose rows have since been dropped would become empty.

The refresh runs after the load's commit, in autocommit: the CALL raises 25001 inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from psycopg2 import sql

from shared.errors import OperationNotSupported
from shared.model.results import CaggStep, Notice
from shared.model.window import Window, iso
from shared.names import QualifiedName
from shared.postgres.connect import Connection, Cursor
from shared.postgres.optional_step import attempt_in_autocommit
from shared.postgres.search_path import by_users_path
from shared.timescale.cagg_buckets import BUCKET_TYPES, Cagg, widen
from shared.timescale.caggs import Chosen, caggs_available, caggs_over, choose, names_of, plan_refresh
from shared.timescale.chunks import chunks_overlapping, range_columns
from shared.timescale.privileges import name_missing, to_refresh
from shared.timescale.retention import find_retention
from shared.timescale.table import Table, TimescaleDB, find_table
from shared.timescale.triggers import copies_one_by_one

_REFRESH = "refresh_continuous_aggregate"

# From this version on, COPY itself logs what it changes; before, a trigger did (read in CHANGELOG.md, #8769).
_COPY_LOGS_SINCE = (2, 23)


def find_unlogged(cursor: Cursor, table: Table, chosen: Chosen, day: Window) -> tuple[Notice, ...]:
    """Warn of the aggregates that will not learn of rows that a COPY has stored one by one.

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
    caggs = [cagg for cagg in caggs_over(cursor, table) if cagg.source_id == table.hypertable_id]
    wanted, _ = choose(caggs, chosen)
    notices = []
    for cagg in caggs:
        if cagg in wanted:
            continue
        call = _refresh_call(cursor, table, extension, cagg, widen(extension, cagg, day, cursor))
        reason = "under this table's triggers COPY logs no changes for aggregates"
        notices.append(
            Notice(
                "ChangesNotLogged", f"{cagg.name} will not know of the rows: {reason}; run: {call.as_string(cursor)}"
            )
        )
    return tuple(notices)


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
    run_optional = partial(attempt_in_autocommit, connection, "plan a refresh")
    plan, notices = plan_refresh(run_optional, table, spans, chosen)
    for planned in plan:
        if planned.cagg is None or planned.window is None:
            step = CaggStep(planned.name, "failed", error=planned.error)
        else:
            step = _refresh_one(connection, table, extension, planned.cagg, planned.window, day)
        rights = to_refresh(names_of([planned]), extension)
        steps.append(replace(step, error=name_missing(step.error, run_optional, rights)))
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
        cursor.execute(by_users_path(_refresh_call(cursor, table, extension, cagg, window)))
        return gaps

    other, error = attempt_in_autocommit(
        connection, "find another procedure", partial(_find_others_procedure, extension)
    )
    if other is not None:
        error = OperationNotSupported(
            f"{other} is not TimescaleDB's, and would be called in its place",
            hint="drop it, or move it to another schema than that of the extension",
        )
    gaps: tuple[tuple[str | int, str | int], ...] | None = None
    if error is None:
        gaps, error = attempt_in_autocommit(connection, "refresh", call)
    bounds = (iso(window.lower), iso(window.upper))
    if error is not None:
        return CaggStep(str(cagg.name), "failed", bounds, error)
    retention, _ = attempt_in_autocommit(connection, "retention", partial(_retention, table, cagg, window))
    return CaggStep(str(cagg.name), "done", bounds, None, gaps or (), retention or ())


def _refresh_call(cursor: Cursor, table: Table, extension: TimescaleDB, cagg: Cagg, window: Window) -> sql.Composed:
    name = sql.Identifier(str(cagg.name.schema), cagg.name.name).as_string(cursor)
    # The column's own type: an aggregate over an int column refuses bigint bounds.
    type_ = BUCKET_TYPES["uuid"] if window.kind == "uuid" else table.time_sql
    return sql.SQL("CALL {}({}::pg_catalog.regclass, {}::{}, {}::{}, force => true)").format(
        extension.function(_REFRESH),
        sql.Literal(name),
        sql.Literal(iso(window.lower)),
        type_,
        sql.Literal(iso(window.upper)),
        type_,
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
    """Warn of the aggregate's own retention policies, which may drop its buckets before the table's rows."""
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
