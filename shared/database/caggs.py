"""Refreshes continuous aggregates after the load. Needs autocommit: the CALL raises 25001 inside a transaction."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from psycopg2 import sql

from shared.database.cagg_plan import Cagg, Chosen, caggs_available, plan_refresh
from shared.database.chunk_catalog import range_columns
from shared.database.connection import Connection, Cursor
from shared.database.extension import TimescaleDB
from shared.database.hypertable import Table
from shared.database.optional import attempt_after_commit
from shared.database.permissions import explained, to_refresh
from shared.database.steps import CaggStep
from shared.database.window import Window, iso


def refresh(connection: Connection, table: Table, day: Window | None, chosen: Chosen) -> list[CaggStep]:
    """Refresh aggregates after the load's commit. Each fails for itself.

    Args:
        connection: in autocommit.
        table: the table that was loaded.
        day: the span that was loaded, in the time column's type; None where it is unknown.
        chosen: "all", or names as the request has them.

    Returns:
        One step for each aggregate, in the order in which they were refreshed; a name that is no aggregate over
        the table comes last.
    """
    extension = table.timescaledb
    if not caggs_available(table) or extension is None or day is None:
        return [CaggStep(name, "not available") for name in ([] if chosen == "all" else chosen)]
    steps = []
    attempt = partial(attempt_after_commit, connection)
    for planned in plan_refresh(attempt, table, day, chosen):
        if planned.cagg is None or planned.window is None:
            step = CaggStep(planned.name, "failed", error=planned.error)
        else:
            step = _refresh_one(connection, table, extension, planned.cagg, planned.window, day)
        steps.append(replace(step, error=explained(step.error, attempt, to_refresh([planned], extension))))
    return steps


def _refresh_one(
    connection: Connection, table: Table, extension: TimescaleDB, cagg: Cagg, window: Window, day: Window
) -> CaggStep:
    def call(cursor: Cursor) -> tuple[tuple[str, str], ...]:
        gaps = gaps_in(cursor, table, window, day)
        # The column's own type: an int column's aggregate refuses bigint bounds.
        type_ = table.time_sql
        name = sql.Identifier(str(cagg.name.schema), cagg.name.name).as_string(cursor)
        cursor.execute(
            sql.SQL("CALL {}({}::regclass, {}::{}, {}::{})").format(
                extension.function("refresh_continuous_aggregate"),
                sql.Literal(name),
                sql.Literal(window.lower),
                type_,
                sql.Literal(window.upper),
                type_,
            )
        )
        return gaps

    gaps, error = attempt_after_commit(connection, call)
    bounds = (iso(window.lower), iso(window.upper))
    return CaggStep(str(cagg.name), "failed" if error else "done", bounds, error, gaps or ())


def gaps_in(cursor: Cursor, table: Table, window: Window, day: Window) -> tuple[tuple[str, str], ...]:
    """Find what of the window lies outside the day and has no chunk, up to now.

    Such a bucket is computed from fewer rows than when they were all there: a week that was aggregated before its
    days were archived and dropped shrinks to the one day that is back.
    """
    lower, upper = window.chunk_bounds
    day_lower, day_upper = day.chunk_bounds
    now = sql.Literal(table.integer_now) if window.kind == "integer" else sql.SQL("now()")
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
