"""Retention policies that will drop a restored day at their next run: the warning `RetentionWillDrop`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_small_day import CSV

pytestmark = pytest.mark.community

END_OF_CHUNK = "'2025-01-02Z'::timestamptz"


def table(app: App, type_: str = "timestamptz", interval: str = "interval '1 day'") -> None:
    app.database.hypertable("t", f"time {type_} NOT NULL, v int", interval=interval)


def policy(app: App, rule: str, *, on: str = "t", start: str = "now() + interval '1 hour'") -> int:
    """Add a policy that does not run while the test does, and return its job."""
    return int(
        app.database.value(f"SELECT public.add_retention_policy('{{s}}.{on}', {rule}, initial_start => {start})")
    )


def will_drop(app: App, csv: bytes = CSV, **request: Any) -> list[str]:
    """Restore the day, and return the messages of the warning."""
    body = app.restore(app.archive("t", csv), **request).body
    found = [one["message"] for one in body["warnings"] if one["code"] == "RetentionWillDrop"]
    assert [one["code"] for one in body["warnings"]] == ["RetentionWillDrop"] * len(found), body
    assert body["status"] == ("ok_with_warnings" if found else "ok")
    return found


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize(("end", "is_dropped"), [("- interval '30 minutes'", False), ("+ interval '30 minutes'", True)])
def test_a_chunk_that_is_over_by_the_next_run(community_app: App, type_: str, end: str, *, is_dropped: bool) -> None:
    """The policy takes chunks that end half an hour after, or before, the day's; its next run is in an hour."""
    table(community_app, type_)
    job = policy(community_app, f"now() + interval '1 hour' - ({END_OF_CHUNK} {end})")
    found = will_drop(community_app, b"time,v\n2025-01-01,1\n")
    assert len(found) == is_dropped
    for message in found:
        assert f"{community_app.database.schema}.t: its retention policy (drop_after " in message
        assert f"job {job}) will drop the day at its next run, 2" in message
        assert message.endswith(f"pause the job: SELECT public.alter_job({job}, scheduled => false)")


def test_the_job_drops_what_it_was_said_to_drop_and_its_pause_keeps_it(community_app: App) -> None:
    table(community_app)
    job = policy(community_app, "interval '30 days'")
    (message,) = will_drop(community_app)
    community_app.database.execute(f"CALL public.run_job({job})")
    assert community_app.database.value("SELECT count(*) FROM {s}.t") == 0
    # As the warning says, before the next restore.
    community_app.database.execute(message.rpartition("pause the job: ")[2])
    assert will_drop(community_app) == []
    assert not community_app.database.value("SELECT scheduled FROM timescaledb_information.jobs WHERE job_id = %s", job)


@pytest.mark.parametrize("dry_run", [True, "full"])
@pytest.mark.parametrize("has_chunk", [True, False])
def test_the_dry_run_warns_in_the_same_words(community_app: App, dry_run: Any, *, has_chunk: bool) -> None:
    table(community_app)
    if has_chunk:
        community_app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 12:30Z', 7)")
    policy(community_app, "interval '30 days'")
    append = {"on_existing": "append"}
    answer = community_app.restore(community_app.archive("t", CSV), dry_run=dry_run, destination=append)
    warnings = [(one["code"], one["message"]) for one in answer.body["warnings"]]
    assert "retention" in answer.body["dry_run"]["checked"]
    assert warnings == [("RetentionWillDrop", message) for message in will_drop(community_app, destination=append)]
    assert warnings


@pytest.mark.parametrize(
    "destination", [{"mode": "staging", "on_existing": "append"}, {"on_existing": "replace"}, {"on_existing": "append"}]
)
@pytest.mark.parametrize("verify", [True, False])
def test_in_each_way(community_app: App, destination: dict[str, str], *, verify: bool) -> None:
    table(community_app)
    community_app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 01:00Z', 7)")
    policy(community_app, "interval '30 days'")
    assert len(will_drop(community_app, destination=destination, verify=verify)) == 1


def test_a_longer_chunk_lives_longer(community_app: App) -> None:
    """A chunk of 7 days from 2024-12-26 on, and so one until 2025-01-02; of 400 days, until 2026."""
    table(community_app, interval="interval '400 days'")
    end = community_app.database.value(
        "SELECT to_timestamp((floor(extract(epoch FROM '2025-01-01Z'::timestamptz) / 34560000) + 1) * 34560000)"
    )
    job = policy(community_app, f"now() - '{end}'::timestamptz + interval '1 day'")
    assert will_drop(community_app) == []
    community_app.database.execute(f"SELECT public.delete_job({job}); DELETE FROM {{s}}.t")
    policy(community_app, f"now() - '{end}'::timestamptz - interval '1 day'")
    assert len(will_drop(community_app)) == 1


def test_one_of_several_chunks_of_the_day_is_enough(community_app: App) -> None:
    table(community_app, interval="interval '6 hours'")
    policy(community_app, "now() + interval '1 hour' - '2025-01-01 06:00Z'::timestamptz")
    assert len(will_drop(community_app)) == 1
    policy_ = "now() + interval '1 hour' - '2025-01-01 05:00Z'::timestamptz"
    community_app.database.execute("SELECT public.remove_retention_policy('{s}.t'); DELETE FROM {s}.t")
    policy(community_app, policy_)
    assert will_drop(community_app) == []


@pytest.mark.parametrize(("drop_after", "is_dropped"), [(99 * 86400, True), (101 * 86400, False)])
def test_an_integer_time(community_app: App, drop_after: int, *, is_dropped: bool) -> None:
    """Now is the hundredth day after the end of the chunk."""
    table(community_app, "bigint", "86400")
    now = 1735776000 + 100 * 86400
    community_app.database.execute(
        f"CREATE FUNCTION {{s}}.now_() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT {now}::bigint'"
    )
    community_app.database.execute("SELECT public.set_integer_now_func('{s}.t', '{s}.now_')")
    policy(community_app, f"bigint '{drop_after}'")
    found = will_drop(community_app, b"time,v\n1735689600,1\n")
    assert [f"drop_after {drop_after}" in message for message in found] == [True] * is_dropped


def test_a_policy_by_the_age_of_the_chunk(community_app: App) -> None:
    table(community_app)
    policy(community_app, "drop_created_before => interval '30 days'")
    assert will_drop(community_app) == []
    community_app.database.execute("UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '31 days'")
    (message,) = will_drop(community_app, destination={"on_existing": "append"})
    assert "drop_created_before 30 days" in message


@pytest.mark.parametrize("start", ["now() - interval '1 hour'", "'infinity'"])
def test_a_run_that_is_due_or_never_comes(community_app: App, start: str) -> None:
    table(community_app)
    job = policy(community_app, "interval '30 days'")
    community_app.database.execute(f"SELECT public.alter_job({job}, next_start => {start})")
    try:
        assert len(will_drop(community_app)) == (0 if "infinity" in start else 1)
    finally:
        community_app.database.execute(f"SELECT public.delete_job({job})")


def test_nothing_to_drop_where_nothing_was_loaded(community_app: App) -> None:
    table(community_app)
    policy(community_app, "interval '30 days'")
    answer = community_app.restore(community_app.archive("t", b"time,v\n"))
    assert [warning["code"] for warning in answer.body["warnings"]] == ["NoRows"]


def test_rows_of_another_day(community_app: App) -> None:
    table(community_app)
    policy(community_app, "now() + interval '1 hour' - '2024-06-01Z'::timestamptz")
    csv = CSV + b"2024-01-01 00:00Z,3\n"
    assert len(will_drop(community_app, csv, destination={"rows_outside_window": "allow"})) == 1


def test_a_role_without_rights_on_jobs(community_app: App) -> None:
    table(community_app)
    policy(community_app, "interval '30 days'")
    pg = community_app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    assert len(will_drop(community_app, pg=pg)) == 1


def test_a_job_of_the_users_with_the_same_name(community_app: App) -> None:
    table(community_app)
    community_app.database.execute(
        "CREATE PROCEDURE {s}.policy_retention(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'"
    )
    hypertable = community_app.database.value("SELECT max(id) FROM _timescaledb_catalog.hypertable")
    config = f'{{{{"hypertable_id": {hypertable}, "drop_after": "oops"}}}}'
    community_app.database.execute(
        f"SELECT public.add_job('{{s}}.policy_retention', '1 day', '{config}', initial_start => now() + '1 day')"
    )
    assert will_drop(community_app) == []


def test_an_aggregate_that_is_refreshed_and_dropped(community_app: App) -> None:
    """The policy of the aggregate, not that of the table."""
    table(community_app)
    community_app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.daily WITH (timescaledb.continuous) AS"
        " SELECT public.time_bucket('1 day', time) AS day, count(*) FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
    assert will_drop(community_app, timescaledb={"refresh_caggs": "all"}) == []
    policy(community_app, "interval '30 days'", on="daily")
    replace = {"on_existing": "replace"}
    assert will_drop(community_app, destination=replace) == []
    (message,) = will_drop(community_app, destination=replace, timescaledb={"refresh_caggs": "all"})
    assert message.startswith(f"{community_app.database.schema}.daily: its retention policy (drop_after 30 days")
