"""A refresh that is done has computed each bucket that the rows reached, whatever TimescaleDB has noted of them.

TimescaleDB refreshes the buckets that its log of changes names. It names too few of them where buckets are not all of
one length (timescaledb#10296), and none where COPY stores row by row (read in src/copy.c of 2.28.3).
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.integration.fix_app import App

pytestmark = pytest.mark.community

HOURS = [datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hour) for hour in range(24)]
CSV = "time,v\n" + "".join(f"{hour.isoformat()},1\n" for hour in HOURS)
NOTHING = "CREATE FUNCTION {s}.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
BY_ROW = "CREATE TRIGGER by_row BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.nothing()"
BY_TRANSITION = (
    "CREATE TRIGGER by_transition AFTER INSERT ON {s}.t REFERENCING NEW TABLE AS new_rows"
    " FOR EACH STATEMENT EXECUTE FUNCTION {s}.nothing()"
)
ALL = {"refresh_caggs": "all"}


def calendar_of(app: App, *buckets: str, interval: str = "interval '1 day'") -> None:
    """Make a table with aggregates c0, c1 and so on, which were refreshed over other days."""
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval=interval)
    for number, bucket in enumerate(buckets):
        app.database.execute(
            f"CREATE MATERIALIZED VIEW {{s}}.c{number}"
            " WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
            f" SELECT public.time_bucket({bucket}) AS b, count(*) AS n FROM {{s}}.t GROUP BY 1 WITH NO DATA"
        )
    app.database.execute(
        "INSERT INTO {s}.t SELECT '2025-01-03 00:00Z'::timestamptz + n * interval '1 h', 1"
        " FROM generate_series(0, 47) n"
    )
    for number in range(len(buckets)):
        app.database.execute(f"CALL public.refresh_continuous_aggregate('{{s}}.c{number}', NULL, NULL)")


def stale(app: App, number: int, bucket: str) -> list[tuple[object, ...]]:
    """Return the buckets in which the aggregate is not what its query says."""
    return app.database.fetch(
        f"SELECT b, c.n, t.n FROM {{s}}.c{number} c"
        f" FULL JOIN (SELECT public.time_bucket({bucket}) AS b, count(*) AS n FROM {{s}}.t GROUP BY 1) t USING (b)"
        " WHERE c.n IS DISTINCT FROM t.n ORDER BY b"
    )


BUCKETS = ("'1 hour', time, 'Europe/Prague'", "'1 day', time, 'Europe/Prague'", "'1 month', time", "'1 day', time")


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("interval", ["interval '6 hours'", "interval '1 day'", "interval '7 days'"])
def test_buckets_in_a_time_zone(community_app: App, interval: str, mode: str) -> None:
    calendar_of(community_app, *BUCKETS, interval=interval)
    url = community_app.archive("t", CSV.encode())
    body = community_app.restore(url, timescaledb=ALL, destination={"mode": mode}).body
    assert {step["outcome"] for step in body["caggs"]} == {"done"}
    assert [stale(community_app, number, bucket) for number, bucket in enumerate(BUCKETS)] == [[]] * len(BUCKETS)


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("trigger", [BY_ROW, BY_TRANSITION])
def test_rows_that_copy_stores_one_by_one(community_app: App, trigger: str, mode: str) -> None:
    calendar_of(community_app, *BUCKETS)
    community_app.database.execute(NOTHING)
    community_app.database.execute(trigger)
    url = community_app.archive("t", CSV.encode())
    body = community_app.restore(url, timescaledb=ALL, destination={"mode": mode}).body
    assert {step["outcome"] for step in body["caggs"]} == {"done"}
    assert "ChangesNotLogged" not in {warning["code"] for warning in body["warnings"]}
    assert [stale(community_app, number, bucket) for number, bucket in enumerate(BUCKETS)] == [[]] * len(BUCKETS)


@pytest.mark.parametrize("setting", ["skip_cagg_invalidation = on", "enable_optimizations = off"])
def test_a_role_whose_changes_are_not_noted(community_app: App, setting: str) -> None:
    """A later refresh of the user's own finds what the load has changed."""
    calendar_of(community_app, "'1 day', time")
    role = community_app.database.role(
        "GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t", "GRANT CREATE ON SCHEMA {s}"
    )
    community_app.database.execute(f"ALTER ROLE {role['user']} SET timescaledb.{setting}")
    body = community_app.restore(community_app.archive("t", CSV.encode()), pg=role).body
    assert body["status"] == "ok"
    community_app.database.execute("CALL public.refresh_continuous_aggregate('{s}.c0', NULL, NULL)")
    assert stale(community_app, 0, "'1 day', time") == []


@pytest.mark.parametrize("trigger", [BY_ROW, BY_TRANSITION])
def test_an_aggregate_that_is_not_refreshed_is_named(community_app: App, trigger: str) -> None:
    """The user's own refresh finds nothing to do; the statement of the warning computes the day."""
    calendar_of(community_app, "'1 day', time", "'1 hour', time, 'Europe/Prague'")
    community_app.database.execute(NOTHING)
    community_app.database.execute(trigger)
    url = community_app.archive("t", CSV.encode())
    body = community_app.restore(url, timescaledb={"refresh_caggs": ["c0"]}).body
    (warning,) = [warning for warning in body["warnings"] if warning["code"] == "ChangesNotLogged"]
    assert warning["message"].startswith(f"{community_app.database.schema}.c1 ")
    community_app.database.execute("CALL public.refresh_continuous_aggregate('{s}.c1', NULL, NULL)")
    assert len(stale(community_app, 1, "'1 hour', time, 'Europe/Prague'")) == len(HOURS)
    community_app.database.execute(warning["message"].partition("run: ")[2])
    assert stale(community_app, 1, "'1 hour', time, 'Europe/Prague'") == []
    # An INSERT is logged.
    staging = {"mode": "staging", "on_existing": "replace"}
    body = community_app.restore(url, destination=staging).body
    assert "ChangesNotLogged" not in {warning["code"] for warning in body["warnings"]}
    community_app.database.execute("CALL public.refresh_continuous_aggregate('{s}.c0', NULL, NULL)")
    assert stale(community_app, 0, "'1 day', time") == []


def test_rows_that_are_replaced_by_fewer(community_app: App) -> None:
    """Buckets whose rows are all gone are computed too."""
    calendar_of(community_app, *BUCKETS)
    url = community_app.archive("t", CSV.encode())
    assert community_app.restore(url, timescaledb=ALL).status == 200
    half = "time,v\n" + "".join(f"{hour.isoformat()},1\n" for hour in HOURS[6:18])
    url = community_app.archive("t", half.encode())
    body = community_app.restore(url, timescaledb=ALL, destination={"on_existing": "replace"}).body
    assert {step["outcome"] for step in body["caggs"]} == {"done"}
    assert [stale(community_app, number, bucket) for number, bucket in enumerate(BUCKETS)] == [[]] * len(BUCKETS)


def test_days_between_rows_of_another_day_keep_what_was_dropped(community_app: App) -> None:
    calendar_of(community_app, "'1 day', time")
    community_app.database.execute("SELECT public.drop_chunks('{s}.t', older_than => '2025-01-05 00:00Z'::timestamptz)")
    csv = CSV + "2025-01-06 12:00Z,1\n"
    url = community_app.archive("t", csv.encode())
    body = community_app.restore(
        url, timescaledb=ALL, destination={"rows_outside_window": "allow", "on_existing": "append"}
    ).body
    assert body["caggs"][0]["outcome"] == "done"
    assert len(body["caggs"]) == 2
    assert [count for _, count in community_app.database.fetch("SELECT * FROM {s}.c0 ORDER BY b")] == [24, 24, 24, 1]


def test_an_aggregate_on_top_of_another(community_app: App) -> None:
    calendar_of(community_app, "'1 hour', time, 'Europe/Prague'")
    community_app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.top WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        " SELECT public.time_bucket('1 day', b, 'Europe/Prague') AS day, sum(n) AS n FROM {s}.c0 GROUP BY 1"
    )
    url = community_app.archive("t", CSV.encode())
    assert community_app.restore(url, timescaledb=ALL).body["status"] == "ok_with_warnings"
    assert [int(n) for _, n in community_app.database.fetch("SELECT * FROM {s}.top ORDER BY day")] == [23, 1, 23, 24, 1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
@pytest.mark.parametrize("day", ["2025-03-30", "2025-10-26", "2024-11-03"])
def test_a_day_on_which_clocks_change(community_app: App, day: str, zone: str) -> None:
    """With an offset or an origin a bucket does not end at the local time at which it began."""
    buckets = (
        f"'15 minutes', time, '{zone}'",
        f"'1 week', time, '{zone}'",
        f"'1 day', time, '{zone}', \"offset\" => interval '6 hours'",
        f"'1 day', time, '{zone}', origin => timestamptz '2000-01-03 05:00Z'",
    )
    calendar_of(community_app, *buckets)
    csv = "time,v\n" + "".join(f"{day} {hour:02}:{minute}Z,1\n" for hour in range(24) for minute in ("00", "30"))
    body = community_app.restore(community_app.archive("t", csv.encode(), day=day), timescaledb=ALL).body
    assert {step["outcome"] for step in body["caggs"]} == {"done"}
    assert [stale(community_app, number, bucket) for number, bucket in enumerate(buckets)] == [[]] * len(buckets)


@pytest.mark.parametrize("far", ["infinity", "294000-01-01 00:00Z", "9999-12-31 12:00Z", "0001-01-01 00:00Z BC"])
def test_a_row_beyond_the_years_that_can_be_told(community_app: App, far: str) -> None:
    """The row's own buckets are a warning, and the day's are computed."""
    calendar_of(community_app, "'1 day', time", "'1 month', time")
    url = community_app.archive("t", f"{CSV}{far},1\n".encode())
    destination = {"rows_outside_window": "allow", "on_existing": "append"}
    body = community_app.restore(url, timescaledb=ALL, destination=destination).body
    assert {warning["code"] for warning in body["warnings"]} <= {"RefreshFailed", "BucketsLackRows"}
    for name in ("c0", "c1"):
        query = f"SELECT n FROM {{s}}.{name} WHERE b = '2025-01-01 00:00Z'"
        assert community_app.database.value(query) == (24 if name == "c0" else 72)
