"""A table `t` with a day of two rows and its neighbours, and the restore of another day of two rows."""

from __future__ import annotations

from typing import Any

from tests.integration.fix_app import Answer, App

TABLE = "time timestamptz NOT NULL, v int, PRIMARY KEY (time)"
CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"
NEIGHBOURS = "('2024-12-31 23:59:59.999999Z', -1), ('2025-01-02 00:00Z', -2)"
DAY_FILTER = "time >= '2025-01-01Z' AND time < '2025-01-02Z'"


def table_with_a_day(app: App, interval: str = "interval '1 day'") -> None:
    app.database.hypertable("t", TABLE, interval=interval)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00Z', 7), ('2025-01-01 12:00Z', 8), " + NEIGHBOURS)


def slow_down(app: App, seconds: float) -> None:
    """Let the load of each row take so long."""
    app.database.execute(
        "CREATE FUNCTION {s}.slow() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$"
    )
    app.database.execute("CREATE TRIGGER slow BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.slow()")


def restore(app: App, csv: bytes = CSV, **destination: Any) -> Answer:
    return app.restore(app.archive("t", csv), destination=destination)


def values(app: App) -> list[int]:
    return [row[0] for row in app.database.fetch("SELECT v FROM {s}.t ORDER BY time")]
