"""The whole buckets of a continuous aggregate that a span of time touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg2 import sql

from shared.model.window import TimeKind, Window
from shared.names import QualifiedName
from shared.postgres.connect import Cursor
from shared.timescale.table import TimescaleDB

BUCKET_TYPES: dict[TimeKind, sql.SQL] = {
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


def widen_all(extension: TimescaleDB, cagg: Cagg, spans: Sequence[Window], cursor: Cursor) -> list[Window]:
    """Widen spans to whole buckets, and join those that meet."""
    joined: list[Window] = []
    for window in sorted((widen(extension, cagg, span, cursor) for span in spans), key=lambda span: span.lower):
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


def widen(extension: TimescaleDB, cagg: Cagg, window: Window, cursor: Cursor) -> Window:
    """Widen a window to whole buckets, by TimescaleDB's own time_bucket.

    With months and time zones, buckets differ in length. So the end is the first start of a bucket after the last one,
    searched around the start of the last one plus its width in local time: an offset or an origin is added to the local
    midnight, so on a day when clocks change that sum is not the start of a bucket.
    """
    type_ = BUCKET_TYPES[window.kind]
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
    type_ = BUCKET_TYPES[kind]
    unit = sql.SQL("bigint" if kind == "integer" else "interval")
    arguments = [
        sql.SQL("{}::{}").format(sql.Literal(cagg.width), unit),
        sql.SQL("({})::{}").format(at, type_),
    ]
    # With all arguments in their own types, TimescaleDB's own function is the best match. If the extension is in
    # `public`, others may create a function of the same name.
    if cagg.timezone is not None:
        arguments.append(sql.SQL("{}::text").format(sql.Literal(cagg.timezone)))
    if cagg.origin is not None or cagg.timezone is not None:
        arguments.append(sql.SQL("{}::{}").format(sql.Literal(cagg.origin), type_))
    if cagg.offset is not None or cagg.timezone is not None:
        arguments.append(sql.SQL("{}::{}").format(sql.Literal(cagg.offset), unit))
    return sql.SQL("{}({})").format(extension.function("time_bucket"), sql.SQL(", ").join(arguments))
