"""Names in the product's statements are found in `pg_catalog`, and those in a user's code where it expects them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shared.api.handle import new_report
from shared.api.parse import parse_for
from shared.postgres.transaction import CommitId, ServerIncarnation
from shared.restore.pending import PendingCommit, finish_committed, was_committed
from shared.restore.restore import restore
from shared.settings import load_settings
from tests.integration.fix_app import App
from tests.integration.fix_calendar import Calendar
from tests.integration.fix_database import Database
from tests.integration.fix_decoys import owner, path_with_decoys

CSV = b"time,device,v\n" + b"".join(b"2025-01-01 %02d:00:00+00,%d,1%d.5\n" % (n, n, n) for n in range(24))
COLUMNS = "time timestamptz NOT NULL, device int NOT NULL, v float8, note text DEFAULT 'x', id serial"
REPLACE = {"on_existing": "replace"}
STAGING = {"mode": "staging"}
FIRST_ON_ERROR = 170000

# How a day is restored, and whether it has rows before.
WAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "direct": ({}, False),
    "direct, binary": ({"copy": {"format": "binary"}}, False),
    "direct, indexes kept": ({"copy": {"indexes": "keep"}}, False),
    "staging": ({"destination": STAGING}, False),
    "staging beside rows": ({"destination": STAGING}, True),
    "on_error": ({"destination": STAGING, "copy": {"on_error": "skip", "max_rejected_rows": 1}}, False),
    "skip": ({"destination": {"on_existing": "skip"}}, True),
    "append": ({"destination": {"on_existing": "append"}}, True),
    "replace": ({"destination": REPLACE}, True),
    "replace in staging": ({"destination": REPLACE | STAGING}, True),
    "rows outside": ({"destination": {"rows_outside_window": "allow"}}, False),
    "sequences": ({"destination": {"sequences": "advance"}}, False),
    "unverified": ({"verify": False, "destination": {"on_existing": "append"}}, False),
    "dry run": ({"dry_run": True}, True),
    "full dry run": ({"dry_run": "full"}, False),
    "full dry run, replace": ({"dry_run": "full", "destination": REPLACE}, True),
    "full dry run, staging": ({"dry_run": "full", "destination": STAGING}, True),
}
each_way = pytest.mark.parametrize("way", WAYS)
each_place = pytest.mark.parametrize("place", ["before the catalogue", "behind it"])


def sent(app: App, pg: dict[str, Any], way: str, csv: bytes = CSV) -> dict[str, Any]:
    """Restore in a way, and return the answer, which must be good."""
    request, has_rows = WAYS[way]
    if has_rows:
        app.database.execute("INSERT INTO {s}.t (time, device, v) VALUES ('2025-01-01 05:30Z', 99, 9)")
    answer = app.restore(app.archive("t", csv), pg=pg, **request)
    assert answer.status == 200, answer.body
    body = answer.body
    if "dry_run" in request:
        assert body["dry_run"]["problems"] == (
            []
            if "destination" in request or not has_rows
            else [{"code": "WindowNotEmpty", "message": body["dry_run"]["problems"][0]["message"]}]
        ), body
        # Whatever fails in a savepoint is said to be left out.
        assert not [one for one in body["warnings"] if "decoy" in one["message"] or "temporary" in one["message"]], body
    else:
        assert body["status"] in (("skipped",) if way == "skip" else ("ok", "ok_with_warnings")), body
    return body


@each_place
@each_way
def test_a_hypertable_among_decoys(app: App, way: str, place: str) -> None:
    if way == "on_error" and app.database.connection.server_version < FIRST_ON_ERROR:
        pytest.skip("ON_ERROR is new in PostgreSQL 17")
    app.database.hypertable("t", f"{COLUMNS}, PRIMARY KEY (device, time)", interval="interval '7 days'")
    app.database.execute("CREATE INDEX ON {s}.t (v)")
    if place == "before the catalogue":
        # TimescaleDB itself finds the operators of a new chunk's bounds by the path, in every session.
        app.database.execute("INSERT INTO {s}.t (time, device) VALUES ('2024-12-31 05:30Z', 1)")
    body = sent(app, owner(app.database, path_with_decoys(app.database, place)), way)
    if way == "direct" and place == "behind it":
        assert body["copy"]["indexes_kept"] == [] or app.database.version < (2, 28), body["copy"]


@each_place
@pytest.mark.parametrize("way", ["direct", "staging", "replace", "dry run", "full dry run", "full dry run, replace"])
@pytest.mark.parametrize("kind", ["plain", "partitioned", "space", "uuid", "bigint", "date"])
def test_other_tables_among_decoys(app: App, kind: str, way: str, place: str) -> None:
    database, columns, csv = app.database, COLUMNS, CSV
    if kind == "bigint":
        columns = columns.replace("timestamptz", kind)
        csv = b"time,device,v\n" + b"".join(b"%d,%d,1\n" % (1735689600 + n, n) for n in range(24))
    elif kind == "uuid":
        columns = columns.replace("timestamptz", kind)
        csv = b"time,device,v\n" + b"".join(b"01941f29-7c%02d-7000-8000-000000000000,1,1\n" % n for n in range(10, 24))
    elif kind == "date":
        columns, csv = columns.replace("timestamptz", kind), b"time,device,v\n2025-01-01,1,1\n"
    if kind == "partitioned":
        database.execute(f"CREATE TABLE {{s}}.t ({COLUMNS}) PARTITION BY RANGE (time)")
        database.execute("CREATE TABLE {s}.p PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z')")
    else:
        database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    if kind == "space":
        # COPY leaves out checks there, so the rows are asked.
        database.execute("ALTER TABLE {s}.t ADD CHECK (v < 1000 OR device = ANY (ARRAY[1, 2]))")
        database.execute("SELECT public.create_hypertable('{s}.t', 'time', 'device', 2)")
        database.execute("INSERT INTO {s}.t (time, device) SELECT '2024-12-31 01:00Z', n FROM generate_series(1, 9) n")
    elif kind not in ("partitioned", "plain"):
        database.execute("ALTER TABLE {s}.t ADD UNIQUE (device, time)")
    request, _ = WAYS[way]
    destination = request.get("destination", {}) | {"time_column": "time"}
    pg = owner(database, path_with_decoys(database, place))
    if kind == "partitioned":
        database.execute(f"ALTER TABLE {{s}}.p OWNER TO {pg['user']}")
    url = app.archive("t", csv)
    if way in ("replace", "full dry run, replace"):
        assert app.restore(url, destination={"time_column": "time"}).status == 200
    answer = app.restore(url, pg=pg, **(request | {"destination": destination}))
    assert answer.status == 200, answer.body
    assert answer.body.get("dry_run", {}).get("problems", []) == [], answer.body
    assert not [one for one in answer.body["warnings"] if "decoy" in one["message"] or "temporary" in one["message"]]


@pytest.mark.parametrize("way", ["direct", "staging", "replace", "full dry run"])
def test_temporary_tables_with_the_names_of_the_catalogue(app: App, way: str) -> None:
    """Each has a type of its name, too. They are looked up first where a path does not name `pg_temp`."""
    database = app.database
    database.hypertable("t", COLUMNS, interval="interval '7 days'")
    names = (
        "pg_class",
        "pg_namespace",
        "pg_index",
        "pg_locks",
        "text",
        "name",
        "oid",
        "tid",
        "regclass",
        "uuid",
        "date",
    )
    create = "; ".join(f'CREATE TEMP TABLE IF NOT EXISTS "{name}" (nothing int)' for name in names)
    database.execute(
        "CREATE FUNCTION {s}.hide() RETURNS trigger LANGUAGE plpgsql SET client_min_messages = error"
        f" AS $$ BEGIN {create}; RETURN NULL; END $$"
    )
    database.execute(
        # Not in the test's own session.
        "CREATE TRIGGER hide BEFORE INSERT OR DELETE ON {s}.t FOR EACH STATEMENT"
        f" WHEN (current_user <> '{database.pg['user']}') EXECUTE FUNCTION {{s}}.hide()"
    )
    sent(app, owner(database, "public"), way)


@each_place
def test_rows_that_refer_to_the_day_among_decoys(app: App, place: str) -> None:
    """By several steps, round in a circle, and by keys of another type."""
    database = app.database
    database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, device int PRIMARY KEY, v float8)")
    database.execute(
        "CREATE TABLE {s}.seen (id text PRIMARY KEY, device bigint REFERENCES {s}.t (device) ON DELETE CASCADE,"
        " before text REFERENCES {s}.seen ON DELETE CASCADE)"
    )
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 3, 1)")
    database.execute("INSERT INTO {s}.seen VALUES ('a', 3, NULL), ('b', NULL, 'a'), ('c', NULL, 'b')")
    pg = owner(database, path_with_decoys(database, place))
    database.execute(f"GRANT SELECT ON {{s}}.seen TO {pg['user']}")
    destination = REPLACE | {"on_referenced": "allow"}
    plan = app.restore(app.archive("t", CSV), pg=pg, destination=destination, dry_run=True).body["dry_run"]
    body = app.restore(app.archive("t", CSV), pg=pg, destination=destination).body
    assert plan["referenced_rows"] == body["referenced_rows"], (plan, body)
    assert sorted(one["rows"] for one in body["referenced_rows"]) == [1, 2]
    assert database.value("SELECT count(*) FROM {s}.seen") == 0


@each_place
def test_the_days_of_a_table_among_decoys(calendar: Calendar, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = calendar.app.database
    database.hypertable("t", COLUMNS)
    database.execute("INSERT INTO {s}.t (time, device) VALUES ('2025-01-01 12:00Z', 1)")
    pg = owner(database, path_with_decoys(database, place))
    monkeypatch.setenv("PGUSER", pg["user"])
    monkeypatch.setenv("PGPASSWORD", pg["password"])
    assert calendar.states("2025-01-01", "2025-01-02") == {"2025-01-01": "present", "2025-01-02": "missing"}
    assert calendar.days("2025-01-01", "2025-01-01", counts="true")["2025-01-01"]["table"]["count"] == 1


def pending_of(request: Any) -> PendingCommit:
    """Restore, and return what was written down before the COMMIT, as if the server had been restarted since."""
    found: list[PendingCommit] = []
    restore(request, load_settings(), new_report(), lambda pending, _: found.append(pending))
    server = ServerIncarnation("another", frozenset())
    return replace(found[0], commit_id=CommitId(found[0].commit_id.xid, server))


@pytest.mark.parametrize("place", ["no decoys", "before the catalogue", "behind it"])
def test_continuing_after_a_commit(app: App, place: str) -> None:
    """The table is looked up again in autocommit, and its `integer_now_func` is called in a savepoint."""
    database = app.database
    database.hypertable("t", "time bigint NOT NULL, device int", interval="86400")
    database.execute("CREATE FUNCTION {s}.present() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 1735700000::bigint'")
    database.execute("SELECT public.set_integer_now_func('{s}.t', '{s}.present')")
    if place == "before the catalogue" and database.version < (2, 24):
        pytest.skip("TimescaleDB 2.19 looks up by the user's path what it needs to make a chunk")
    path = "public" if place == "no decoys" else path_with_decoys(database, place)
    url = app.archive("t", b"time,device\n1735689600,1\n1735689601,2\n")
    settings = load_settings()
    request = parse_for(json.dumps({"adls_url": url, "pg": owner(database, path)}).encode(), settings)
    pending, report = pending_of(request), new_report()
    assert was_committed(request, settings, pending, report)
    finish_committed(request, settings, pending, report)
    assert [one.code for one in report.warnings] == []


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("on_error", "rows outside")])
def test_the_users_code_finds_names_as_in_its_own_sessions(app: App, way: str) -> None:
    """In a default, a check, a generated column, an index, a domain, triggers and a policy: none qualifies a name."""
    database = app.database
    database.hypertable("t", f"{COLUMNS}, PRIMARY KEY (device, time)")
    for statement in (
        "CREATE TABLE {s}.noted (n int)",
        "CREATE FUNCTION {s}.one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'",
        "CREATE FUNCTION {s}.plus(float8) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT $1 + one()'",
        "CREATE FUNCTION {s}.is_good(float8) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 > one(); END'",
        "CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM one(); RETURN new; END'",
        "CREATE DOMAIN {s}.good AS float8 CHECK ({s}.is_good(VALUE))",
        "ALTER TABLE {s}.t ADD w {s}.good DEFAULT {s}.plus(1), ADD g float8 GENERATED ALWAYS AS ({s}.plus(v)) STORED",
        "ALTER TABLE {s}.t ADD CONSTRAINT v_is_good CHECK ({s}.is_good(v))",
        # From PostgreSQL 17 on, an index is built under a path of the server's own: such a function is never found.
        *(["CREATE INDEX ON {s}.t ({s}.plus(v))"] if database.connection.info.server_version < 170_000 else []),
        "CREATE TRIGGER note BEFORE INSERT OR DELETE ON {s}.t FOR EACH STATEMENT EXECUTE FUNCTION {s}.note()",
        "CREATE TRIGGER last BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.note()",
    ):
        # They are created where names are found, and the role's path is another session's.
        database.execute(f"SET search_path = {database.schema}, public; {statement}")
    database.execute("RESET search_path")
    pg = owner(database, f"{database.schema}, public")
    database.execute(f"ALTER TABLE {{s}}.noted OWNER TO {pg['user']}")
    app.database.execute(f"SET search_path = {database.schema}, public")
    try:
        sent(app, pg, way)
    finally:
        app.database.execute("RESET search_path")


def test_a_policy_and_a_deferred_trigger_find_names_too(app: App) -> None:
    database = app.database
    database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, device int, v float8)")
    database.execute("CREATE TABLE {s}.noted (n int)")
    database.execute("CREATE FUNCTION {s}.one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'")
    database.execute(
        "CREATE FUNCTION {s}.may() RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN one() = 1; END'"
    )
    database.execute(
        "CREATE FUNCTION {s}.note() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN INSERT INTO noted VALUES (one()); RETURN NULL; END'"
    )
    database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    database.execute("CREATE POLICY p ON {s}.t USING ({s}.may()) WITH CHECK ({s}.may())")
    database.execute(
        "CREATE CONSTRAINT TRIGGER last AFTER INSERT ON {s}.t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION {s}.note()"
    )
    rights = ("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t", "GRANT INSERT ON {s}.noted")
    pg = database.role(*rights)
    database.execute(f"ALTER ROLE {pg['user']} SET search_path = {database.schema}, public")
    url = app.archive("t", CSV)
    for expected in ("ok_with_warnings", "skipped"):
        body = app.restore(url, pg=pg, destination=STAGING | {"on_existing": "skip"}).body
        assert body["status"] == expected, body
    assert database.value("SELECT count(*) FROM {s}.noted") == 24


@pytest.mark.parametrize("way", ["direct", "staging", "replace in staging", "full dry run", "full dry run, staging"])
def test_operators_of_a_users_type_are_found(app: App, way: str) -> None:
    """`citext` lives in a schema that is not on the path; its equality is not that of text."""
    database = app.database
    database.execute("CREATE EXTENSION IF NOT EXISTS citext SCHEMA {s}")
    database.execute(
        "CREATE TABLE {s}.t (time timestamptz NOT NULL, device {s}.citext PRIMARY KEY, v float8 CHECK (v > 0))"
    )
    database.execute("CREATE TABLE {s}.seen (device {s}.citext REFERENCES {s}.t (device) ON DELETE CASCADE)")
    csv = b"time,device,v\n2025-01-01 01:00Z,a,1\n2025-01-01 02:00Z,b,1\n"
    url = app.archive("t", csv)
    assert app.restore(url).status == 200
    database.execute("INSERT INTO {s}.seen VALUES ('A')")
    pg = owner(database, "public")
    database.execute(f"GRANT SELECT ON {{s}}.seen TO {pg['user']}")
    request, _ = WAYS[way]
    replacing = request.get("destination", {}) | REPLACE | {"on_referenced": "allow"}
    body = app.restore(url, pg=pg, **(request | {"destination": replacing})).body
    counted = body["dry_run"] if "dry_run" in request else body
    assert [one["rows"] for one in counted["referenced_rows"]] == [1], body
    database.execute("DROP EXTENSION citext CASCADE")


# A call that leaves an argument to its default, or gives one of another type, would find these.
OVERLOADS = (
    "compress_chunk(regclass, boolean)",
    "decompress_chunk(regclass)",
    "time_bucket(interval, timestamptz, text)",
    "time_bucket(text, text)",
    "chunk_compression_stats(oid)",
)


@contextmanager
def overloads(database: Database, *signatures: str) -> Iterator[None]:
    """Let the extension's schema hold more functions of the names of TimescaleDB's."""
    body = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a decoy was called'; END $$"
    for signature in signatures:
        is_procedure = signature.startswith("refresh")
        database.execute(
            f"CREATE PROCEDURE public.{signature} {body}"
            if is_procedure
            else f"CREATE FUNCTION public.{signature} RETURNS boolean {body}"
        )
    try:
        yield
    finally:
        for signature in signatures:
            database.execute(f"DROP ROUTINE public.{signature}")


def compressed_table_with_aggregates(app: App) -> None:
    database = app.database
    database.hypertable("t", f"{COLUMNS}, PRIMARY KEY (device, time)")
    database.execute("INSERT INTO {s}.t (time, device, v) VALUES ('2025-01-01 05:30Z', 99, 1)")
    database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')")
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    for name, bucket in (("daily", "'1 day', time"), ("local", "'1 day', time, 'Europe/Berlin'")):
        make_aggregate(app, name, bucket)


def make_aggregate(app: App, name: str, bucket: str = "'1 day', time") -> None:
    app.database.execute(
        f"CREATE MATERIALIZED VIEW {{s}}.{name} WITH (timescaledb.continuous) AS"
        f" SELECT public.time_bucket({bucket}) AS b, count(*) AS n FROM {{s}}.t GROUP BY 1 WITH NO DATA"
    )


@pytest.mark.community
@each_place
@pytest.mark.parametrize("decompress", [True, "auto", False])
def test_compression_and_aggregates_among_decoys(community_app: App, place: str, decompress: bool | str) -> None:
    app, database = community_app, community_app.database
    compressed_table_with_aggregates(app)
    pg = owner(database, path_with_decoys(database, place))
    for name in ("daily", "local"):
        database.execute(f"ALTER MATERIALIZED VIEW {{s}}.{name} OWNER TO {pg['user']}")
    wishes = {"refresh_caggs": "all", "decompress_window": decompress, "compress_new_chunks": True}
    with overloads(database, *OVERLOADS):
        days = [("2025-01-01", "append"), ("2025-01-01", "replace")]
        # TimescaleDB itself finds the operators of a new chunk's bounds by the path.
        days += [("2025-01-02", "error")] if place == "behind it" else []
        for day, policy in days:
            url = app.archive("t", CSV.replace(b"2025-01-01", day.encode()), day=day)
            for dry_run in (True, False):
                answer = app.restore(
                    url, pg=pg, destination={"on_existing": policy}, timescaledb=wishes, dry_run=dry_run
                )
                assert answer.status == 200, answer.body
                # A day was added to itself before it is replaced.
                expected = {"BucketsLackRows", "ReplacedByFewer"} if policy == "replace" else {"BucketsLackRows"}
                assert {one["code"] for one in answer.body["warnings"]} <= expected, answer.body
        assert [step["outcome"] for step in answer.body["caggs"]] == ["done", "done"]
        assert {step["outcome"] for step in answer.body["chunks"]} == {"done"}


@pytest.mark.community
def test_all_aggregates_are_those_of_the_tables_owner(community_app: App) -> None:
    """A reader's aggregate would be computed with the rights of the restore's role."""
    app, database = community_app, community_app.database
    database.hypertable("t", COLUMNS)
    for name in ("theirs", "ours", "theirs_too"):
        make_aggregate(app, name)
    pg = owner(database, "public")
    reader = database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT ON {s}.t")
    database.execute(f"ALTER MATERIALIZED VIEW {{s}}.ours OWNER TO {pg['user']}")
    for name in ("theirs", "theirs_too"):
        database.execute(f"ALTER MATERIALIZED VIEW {{s}}.{name} OWNER TO {reader['user']}")
    url = app.archive("t", CSV)
    everything = {"refresh_caggs": "all"}
    # Even a superuser's restore leaves them out.
    for more in ({"dry_run": True}, {}):
        body = app.restore(url, timescaledb=everything, **more).body
        found = body["dry_run"]["caggs"] if more else body["caggs"]
        assert [step["name"] for step in found] == [f"{database.schema}.ours"]
        (warning,) = (one for one in body["warnings"] if one["code"] == "CaggsNotRefreshed")
        assert f"{database.schema}.theirs, {database.schema}.theirs_too" in warning["message"]
    assert database.value("SELECT count(*) FROM {s}.theirs WHERE n > 0") == 0
    named = {"refresh_caggs": [f"{database.schema}.theirs"]}
    body = app.restore(url, timescaledb=named, destination=REPLACE).body
    assert [(step["name"], step["outcome"]) for step in body["caggs"]] == [(f"{database.schema}.theirs", "done")]
    assert "CaggsNotRefreshed" not in [one["code"] for one in body["warnings"]]


@pytest.mark.community
def test_a_procedure_that_is_not_timescaledbs_is_not_called(community_app: App) -> None:
    """Two arguments of TimescaleDB's own one are of any type, so that another one matches better."""
    app, database = community_app, community_app.database
    database.hypertable("t", COLUMNS)
    make_aggregate(app, "daily")
    with overloads(database, "refresh_continuous_aggregate(regclass, timestamptz, timestamptz)"):
        body = app.restore(app.archive("t", CSV), timescaledb={"refresh_caggs": "all"}).body
    (step,) = body["caggs"]
    assert (body["status"], step["outcome"], step["error"]["code"]) == (
        "ok_with_warnings",
        "failed",
        "OperationNotSupported",
    )
    assert "decoy" not in json.dumps(body)
    assert database.value("SELECT count(*) FROM {s}.t") == 24
