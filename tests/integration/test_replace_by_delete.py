"""`replace` deletes the day's rows where something sees a DELETE and would miss a TRUNCATE of the chunk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_small_day import CSV, TABLE, restore, table_with_a_day, values

# What fires notes itself, and the row where there is one.
NOTE = (
    "CREATE TABLE {s}.noted (v int);"
    " GRANT ALL ON {s}.noted TO PUBLIC;"
    " CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " EXECUTE format('INSERT INTO %I.noted VALUES ($1)', TG_ARGV[0])"
    " USING CASE WHEN TG_LEVEL = 'ROW' THEN OLD.v ELSE 0 END;"
    " RETURN CASE WHEN TG_LEVEL = 'ROW' THEN OLD END; END $$"
)


@pytest.fixture(params=["app", pytest.param("community_app", marks=pytest.mark.community)])
def day(request: pytest.FixtureRequest) -> Iterator[App]:
    """On each edition: a day of two rows in a chunk of its own, and a function that notes what it is called for."""
    app: App = request.getfixturevalue(request.param)
    table_with_a_day(app)
    app.database.execute(NOTE)
    yield app
    for (name,) in app.database.fetch("SELECT pubname FROM pg_publication"):
        app.database.execute(f"DROP PUBLICATION {name}")


def chunk(app: App) -> str:
    """The chunk of the day, as SQL."""
    schema, name = app.database.fetch(
        "SELECT chunk_schema, chunk_name FROM timescaledb_information.chunks"
        " WHERE hypertable_schema = %s AND range_start = '2025-01-01Z'",
        app.database.schema,
    )[0]
    return f'"{schema}"."{name}"'


def trigger(app: App, event: str, level: str, *, on: str = "", name: str = "note") -> None:
    app.database.execute(
        f"CREATE TRIGGER {name} AFTER {event} ON {on or '{s}.t'} FOR EACH {level}"
        f" EXECUTE FUNCTION {{s}}.note('{app.database.schema}')"
    )


def noted(app: App) -> list[int]:
    return [row[0] for row in app.database.fetch("SELECT v FROM {s}.noted ORDER BY v")]


def replaced(app: App, how: str, *, why: str = "", **request: object) -> Answer:
    """Replace the day, dry and in earnest, and check how its rows were removed."""
    url = app.archive("t", CSV)
    destination = {"on_existing": "replace", "mode": "staging"}
    plan = app.restore(url, destination=destination, dry_run=True, **request).body
    would = "truncate, or delete its rows" if how == "truncate" else f"delete its rows: there is {why}"
    assert [chunk["would"][0] for chunk in plan["dry_run"]["chunks"]] == [would]
    answer = app.restore(url, destination=destination, **request)
    assert (answer.status, answer.body.get("removed_by")) == (200, how), answer.body
    return answer


@pytest.mark.parametrize(("level", "seen"), [("ROW", [7, 8]), ("STATEMENT", [0])])
def test_a_trigger_of_the_table_fires(day: App, level: str, seen: list[int]) -> None:
    trigger(day, "DELETE", level)
    replaced(day, "delete", why="a trigger on DELETE or TRUNCATE")
    assert noted(day) == seen
    assert values(day) == [-1, 1, 2, -2]


def test_a_trigger_of_the_chunk_alone_fires(day: App) -> None:
    trigger(day, "DELETE", "ROW", on=chunk(day))
    replaced(day, "delete", why="a trigger on DELETE or TRUNCATE")
    assert noted(day) == [7, 8]


def test_a_guard_keeps_the_day(day: App) -> None:
    day.database.execute(
        "CREATE FUNCTION {s}.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$"
    )
    day.database.execute("CREATE TRIGGER guard BEFORE DELETE ON {s}.t FOR EACH STATEMENT EXECUTE FUNCTION {s}.guard()")
    assert restore(day, on_existing="replace").status != 200
    assert values(day) == [-1, 7, 8, -2]


def test_a_constraint_trigger_fires_at_the_commit(day: App) -> None:
    day.database.execute(
        f"CREATE CONSTRAINT TRIGGER note AFTER DELETE ON {chunk(day)} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        f" EXECUTE FUNCTION {{s}}.note('{day.database.schema}')"
    )
    replaced(day, "delete", why="a trigger on DELETE or TRUNCATE")
    assert noted(day) == [7, 8]


@pytest.mark.parametrize(("on", "level", "seen"), [("p", "ROW", [7, 8]), ("t", "ROW", [7, 8]), ("t", "STATEMENT", [0])])
def test_triggers_of_a_partitioned_table_fire(day: App, on: str, level: str, seen: list[int]) -> None:
    """Also one that a partition alone has: no partition is truncated."""
    day.database.execute("DROP TABLE {s}.t")
    day.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int) PARTITION BY RANGE (time)")
    day.database.execute("CREATE TABLE {s}.p PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-02Z')")
    day.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00Z', 7), ('2025-01-01 12:00Z', 8)")
    trigger(day, "DELETE", level, on=f"{{s}}.{on}")
    answer = restore(day, on_existing="replace")
    assert (answer.status, answer.body.get("removed_by")) == (200, "delete")
    assert (noted(day), values(day)) == (seen, [1, 2])


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_trigger_of_another_event_does_not_count(day: App, event: str) -> None:
    trigger(day, event, "STATEMENT")
    replaced(day, "truncate")


@pytest.mark.parametrize("on_chunk", [False, True])
def test_a_trigger_on_truncate_does_not_fire(day: App, *, on_chunk: bool) -> None:
    """As it does not where the rows are deleted for another reason, such as a reader."""
    trigger(day, "TRUNCATE", "STATEMENT", on=chunk(day) if on_chunk else "")
    replaced(day, "delete", why="a trigger on DELETE or TRUNCATE")
    assert noted(day) == []


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize(
    ("state", "fires_in"),
    [
        ("O", {"origin"}),
        ("D", set()),
        ("R", {"replica"}),
        ("A", {"origin", "replica"}),
    ],
)
def test_a_trigger_counts_where_it_fires(day: App, state: str, fires_in: set[str], role: str) -> None:
    # Of the chunk: TimescaleDB before 2.29 lets nobody change the state of a hypertable's trigger by ALTER TABLE.
    trigger(day, "DELETE", "ROW", on=chunk(day))
    day.database.execute("UPDATE pg_trigger SET tgenabled = %s WHERE tgrelid = %s::regclass", state, chunk(day))
    pg = day.database.role(
        "GRANT USAGE, CREATE ON SCHEMA {s}",
        "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t",
    )
    day.database.execute(f"ALTER ROLE {pg['user']} SET session_replication_role = {role}")
    fires = role in fires_in
    replaced(day, "delete" if fires else "truncate", why="a trigger on DELETE or TRUNCATE", pg=pg)
    assert noted(day) == ([7, 8] if fires else [])


def test_a_rule(day: App) -> None:
    # A hypertable takes none; a chunk does.
    day.database.execute(f"CREATE RULE r AS ON DELETE TO {chunk(day)} DO ALSO NOTHING")
    replaced(day, "delete", why="a rule on DELETE")


@pytest.mark.parametrize(
    ("what", "publish", "how"),
    [
        ("ALL TABLES", "insert, delete", "delete"),
        ("TABLES IN SCHEMA {s}", "delete", "delete"),
        ("TABLES IN SCHEMA _timescaledb_internal", "delete", "delete"),
        ("TABLE {s}.t", "insert, delete", "delete"),
        ("TABLE ONLY {chunk}", "delete", "delete"),
        ("TABLE {s}.t", "insert", "truncate"),
        ("TABLE {s}.noted", "delete", "truncate"),
        ("ALL TABLES", "insert, update", "truncate"),
    ],
)
def test_a_publication(day: App, what: str, publish: str, how: str) -> None:
    what = what.replace("{chunk}", chunk(day))
    day.database.execute(f"CREATE PUBLICATION p FOR {what} WITH (publish = '{publish}')")
    replaced(day, how, why="a publication of deletes without truncates")
    assert values(day) == [-1, 1, 2, -2]


def test_a_publication_of_truncates_as_well(day: App) -> None:
    day.database.execute("CREATE PUBLICATION p FOR ALL TABLES")
    replaced(day, "truncate")


def test_row_level_security_keeps_the_rows_that_the_role_does_not_see(day: App) -> None:
    day.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 04:00Z', 100)")
    day.database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    day.database.execute("CREATE POLICY small ON {s}.t USING (v < 50)")
    pg = day.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t")
    answer = replaced(day, "delete", why="row-level security", pg=pg)
    assert values(day) == [-1, 1, 100, 2, -2]
    assert [warning["code"] for warning in answer.body["warnings"]] == ["RowsMayBeHidden"]


@pytest.mark.parametrize("on_existing", ["error", "skip", "replace", "append"])
def test_a_day_whose_rows_a_policy_hides_seems_empty_and_is_warned_of(day: App, on_existing: str) -> None:
    day.database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    day.database.execute("CREATE POLICY none ON {s}.t FOR SELECT USING (v < 3)")
    day.database.execute("CREATE POLICY any_insert ON {s}.t FOR INSERT WITH CHECK (true)")
    day.database.execute("CREATE POLICY any_delete ON {s}.t FOR DELETE USING (true)")
    pg = day.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    held, request = values(day), {"pg": pg, "destination": {"on_existing": on_existing, "mode": "staging"}}
    for dry_run in (True, False):
        answer = day.restore(day.archive("t", CSV), dry_run=dry_run, **request)
        assert answer.status == 200, answer.body
        codes = [warning["code"] for warning in answer.body["warnings"]]
        assert codes.count("RowsMayBeHidden") == 1, codes
    assert len(values(day)) > len(held)


@pytest.mark.community
def test_a_trigger_fires_for_rows_that_were_compressed(community_app: App) -> None:
    app = community_app
    app.database.hypertable("t", TABLE)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00Z', 7), ('2025-01-01 12:00Z', 8)")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute(NOTE)
    trigger(app, "DELETE", "ROW")
    app.database.execute(f"SELECT public.compress_chunk('{chunk(app)}')")
    replaced(app, "delete", why="a trigger on DELETE or TRUNCATE")
    assert noted(app) == [7, 8]
    assert values(app) == [1, 2]


@pytest.mark.community
def test_a_chunks_trigger_fires_for_rows_that_the_role_may_not_decompress(community_app: App) -> None:
    """TimescaleDB deletes whole compressed batches without a look at their rows where the table has no trigger."""
    app = community_app
    app.database.hypertable("t", TABLE)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 03:00Z', 7), ('2025-01-01 12:00Z', 8)")
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    app.database.execute(NOTE)
    trigger(app, "DELETE", "ROW", on=chunk(app))
    app.database.execute(f"SELECT public.compress_chunk('{chunk(app)}')")
    pg = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t")
    replaced(app, "delete", why="a trigger on DELETE or TRUNCATE", pg=pg)
    assert noted(app) == [7, 8]
    assert values(app) == [1, 2]
