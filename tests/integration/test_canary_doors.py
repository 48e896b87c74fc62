"""The canaries at the doors that a break-in test found open: what a server is shown, and what a refusal says there.

Each kind that can be driven by one request of `test_canary.py` is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_canary import CANARIES, GOOD, HEADER, TRACES, Watch, day_of, make_role
from tests.integration.fix_decoys import MESSAGE, path_with_decoys
from tests.integration.fix_identity import ManagedIdentity
from tests.integration.fix_recorder import Recorder
from tools.config import LOOPBACK

ROWS = HEADER + f"2025-01-01 00:00:00+00,{CANARIES['row']},1\n".encode()
COLUMNS = "time timestamptz NOT NULL, v text, n int"


@pytest.mark.any_server
@pytest.mark.parametrize(
    "pg",
    [
        {"user": "somebody"},
        {"user": "somebody", "password": ""},
        {"user": "somebody", "password": "theirs"},
        {"connection_uri": "postgresql://somebody@/d"},
        {"auth": "password", "user": "somebody"},
        {"auth": "entra", "user": "somebody"},
    ],
)
def test_what_a_server_of_the_requests_choice_is_shown(
    watch: Watch, recorder: Recorder, pg: dict[str, str], managed_identity: ManagedIdentity
) -> None:
    """Neither the function's password nor its token, in no form."""
    managed_identity.token = CANARIES["token"]
    for name in ("PGHOST", "PG_ALLOWED_HOSTS", "PGUSER"):
        watch.monkeypatch.delenv(name)
    body = day_of(watch.app, pg | {"host": LOOPBACK, "port": recorder.port, "sslmode": "disable"}, "t", GOOD)
    if "connection_uri" in pg:
        body["pg"] = {"connection_uri": f"postgresql://somebody@{LOOPBACK}:{recorder.port}/d?sslmode=disable"}
    is_refused = pg.get("auth") == "entra"
    expected = {"DatabaseHostNotAllowed"} if is_refused else {"DatabaseAccessDenied", "DatabaseUnreachable"}
    assert watch.send(body) in expected
    assert (recorder.connections == 0) == is_refused
    assert not [trace for trace in TRACES if trace in recorder.shown.decode("latin-1").lower()]
    assert not recorder.answered or pg.get("password")


GUESSED, CODES = "only-for-tests", {"database": "DatabaseNotFound", "user": "DatabaseAccessDenied"}


@pytest.mark.any_server
@pytest.mark.parametrize("field", [*CODES, "target_table"])
def test_a_guess_of_the_functions_own_password(watch: Watch, field: str) -> None:
    """In a name that the server repeats: the answer is the same if the guess is right, and holds it as it was sent."""
    pg = watch.app.database.role("GRANT USAGE ON SCHEMA {s}")
    assert pg["password"] == GUESSED
    named = {"PGHOST": pg["host"], "PGPORT": str(pg["port"]), "PGUSER": pg["user"], "PGPASSWORD": GUESSED}
    answers = set()
    for guess in (GUESSED, "made-for-tests"):
        name = f"x {guess}"
        change = {"destination": {field: name}} if field == "target_table" else {"pg": {field: name}}
        sent = day_of(watch.app, {}, "t", ROWS, **change)
        assert watch.send(sent, **named, PG_ALLOWED_USERS=f"{pg['user']},{name}") == CODES.get(field, "TableNotFound")
        error = json.loads(watch.answer)["error"]
        assert guess in error["message"]
        answers.add(json.dumps({key: fact for key, fact in error.items() if key != "request_id"}).replace(guess, ""))
    assert len(answers) == 1


def test_parts_of_a_table_that_are_not_targets(watch: Watch) -> None:
    """A chunk, where nobody's name says so, and a partition that is not listed."""
    database, pg = watch.app.database, make_role(watch.app)
    watch.table("t", COLUMNS)
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old', 1)")
    chunk = database.value("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{s}.t'::regclass")
    database.execute(f"ALTER TABLE {chunk} RENAME TO plain")
    database.execute(f"ALTER TABLE {chunk.partition('.')[0]}.plain SET SCHEMA {{s}}")
    database.execute(
        f"CREATE TABLE {{s}}.whole ({COLUMNS}) PARTITION BY RANGE (time);"
        " CREATE TABLE {s}.part PARTITION OF {s}.whole FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-02Z')"
    )
    for policy in ({"on_existing": "replace", "min_rows_ratio": 0}, {"mode": "staging", "on_existing": "append"}):
        assert watch.send(day_of(watch.app, pg, "plain", ROWS, destination=policy)) == "TargetNotATable"
        listed = {"ALLOWED_TARGETS": f"{database.schema}.whole"}
        whole = day_of(watch.app, pg, "whole", ROWS, destination=policy | {"time_column": "time"})
        assert watch.send(whole, **listed) == "TargetNotAllowed"
    assert database.fetch("SELECT v FROM {s}.t") == [("old",)]
    assert database.fetch("SELECT v FROM {s}.whole") == []


@pytest.mark.community
def test_tables_that_hold_rows_of_others(community_watch: Watch) -> None:
    """Compressed rows and those of an aggregate, in a schema that is not the server's own."""
    watch, database = community_watch, community_watch.app.database
    pg = make_role(watch.app)
    watch.table("t", COLUMNS)
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old', 1)")
    _aggregate(watch.app, "hourly")
    database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'v')")
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    ((compressed,),) = database.fetch(
        "SELECT compress_relid::regclass::text FROM _timescaledb_catalog.compression_settings"
        " WHERE relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{s}.t'::regclass)"
    )
    ((materialization,),) = database.fetch(
        "SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)"
        " FROM timescaledb_information.continuous_aggregates WHERE view_schema = %s",
        database.schema,
    )
    for name, held in (("packed", compressed), ("counted", materialization)):
        schema = held.partition(".")[0]
        database.execute(f"ALTER TABLE {held} RENAME TO {name}")
        database.execute(f"ALTER TABLE {schema}.{name} SET SCHEMA {{s}}")
        for destination in ({"time_column": "time"}, {"mode": "staging", "create_staging_like": f"{{s}}.{name}"}):
            policy = {key: value.format(s=database.schema) for key, value in destination.items()}
            table = "t" if "mode" in destination else name
            assert watch.send(day_of(watch.app, pg, table, ROWS, destination=policy)) == "TargetNotATable", name
    assert database.fetch("SELECT v FROM {s}.t") == [("old",)]


@pytest.mark.any_server
def test_a_long_error_and_long_notices_that_hold_rows(watch: Watch) -> None:
    database, pg = watch.app.database, make_role(watch.app)
    watch.table("t", COLUMNS)
    database.execute(
        "CREATE FUNCTION {s}.speak() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE NOTICE '%', repeat(new.v, 1000); RAISE EXCEPTION '%', repeat(new.v, 100000); END $$"
    )
    database.execute("CREATE TRIGGER x BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.speak()")
    for mode in ("direct", "staging"):
        assert watch.send(day_of(watch.app, pg, "t", ROWS, destination={"mode": mode})) in (
            "DataRejected",
            "DatabaseFailed",
        )


def test_a_day_that_another_session_holds(watch: Watch) -> None:
    """The table's day, asked for by its parent and by its partition, and rows that lie in another day."""
    database, pg = watch.app.database, make_role(watch.app)
    database.execute(
        f"CREATE TABLE {{s}}.t ({COLUMNS}) PARTITION BY RANGE (time);"
        " CREATE TABLE {s}.part PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-02-01Z')"
    )
    oid = database.value("SELECT '{s}.t'::regclass::oid")
    for name in ("t", "part"):
        with closing(database.session()) as other, other.cursor() as cursor:
            for day in ("2025-01-01", "2025-01-02"):
                # Who may only connect can say anything here, but not what the function was given.
                cursor.execute(
                    "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"restore-chunk\n{oid}\n{day}",)
                )
                csv = ROWS + ROWS.replace(HEADER, b"").replace(b"2025-01-01", b"2025-01-02")
                beside = {"time_column": "time", "rows_outside_window": "allow"}
                assert watch.send(day_of(watch.app, pg, name, csv, destination=beside)) == "RestoreInProgress"
                cursor.execute("ROLLBACK")
    assert database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.parametrize("place", ["before the catalogue", "behind it"])
def test_a_path_with_decoys(watch: Watch, place: str) -> None:
    """A decoy gets to see what a statement holds, and raises."""
    database, pg = watch.app.database, make_role(watch.app)
    watch.table("t", COLUMNS)
    # TimescaleDB finds the operators of a new chunk's bounds by the path.
    database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 05:00Z', 'old', 1)")
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {pg['user']}")
    database.execute(f"ALTER ROLE {pg['user']} SET search_path = {path_with_decoys(database, place)}")
    requests: tuple[dict[str, Any], ...] = (
        {"dry_run": True},
        {"dry_run": "full"},
        {"destination": {"on_existing": "append"}},
        {"destination": {"mode": "staging", "on_existing": "replace"}},
    )
    for request in requests:
        sent = day_of(watch.app, pg, "t", ROWS, **request)
        assert watch.send(sent) in {"ok", "ok_with_warnings", "dry_run"}, request
        assert MESSAGE not in watch.answer, request


@pytest.mark.community
def test_aggregates_of_other_owners(community_watch: Watch) -> None:
    watch, database = community_watch, community_watch.app.database
    pg = make_role(watch.app)
    watch.table("t", COLUMNS)
    _aggregate(watch.app, "theirs")
    database.execute(f"ALTER TABLE {{s}}.t OWNER TO {pg['user']}")
    sent = day_of(watch.app, pg, "t", ROWS, timescaledb={"refresh_caggs": "all"})
    assert watch.send(sent) == "ok_with_warnings"
    assert "CaggsNotRefreshed" in watch.answer
    assert database.value("SELECT count(*) FROM {s}.theirs") == 0


@pytest.mark.any_server
@pytest.mark.parametrize(
    "change",
    [
        lambda text: {"copy": {"columns": [text] * 20_000}},
        lambda text: {"copy": {"csv_options": {"FORCE_NULL": [text] * 20_000}}},
        lambda text: {"timescaledb": {"refresh_caggs": [text] * 20_000}},
    ],
)
def test_long_lists(watch: Watch, change: Callable[[str], dict[str, Any]]) -> None:
    pg = make_role(watch.app)
    assert watch.send(day_of(watch.app, pg, "t", ROWS, **change(CANARIES["field"]))) == "InvalidRequest"


def _aggregate(app: App, name: str) -> None:
    app.database.execute(
        f"CREATE MATERIALIZED VIEW {{s}}.{name} WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        " SELECT public.time_bucket('1 hour', time) AS time, count(*) AS n FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
