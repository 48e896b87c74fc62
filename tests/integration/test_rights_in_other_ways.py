"""Ways to have a right that are not on the page, and rights that are not asked for."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_rights import (
    APPEND,
    COLUMNS,
    DIRECT,
    REPLACE,
    ROW_OF_THE_DAY,
    STAGING,
    WITHOUT_ID,
    Mode,
    RightsCase,
    grants,
    set_up,
)

EVERYTHING = {"destination": {"mode": "staging", "on_existing": "replace"}}
OTHER_WAYS = {
    "superuser": ["ALTER ROLE restore SUPERUSER"],
    "owner": ["ALTER TABLE silver.telemetry OWNER TO restore", "GRANT ALL ON SCHEMA silver TO restore"],
    "member of the owner": ["GRANT telemetry_owner TO restore"],
    "everybody": [
        "GRANT ALL ON SCHEMA silver TO PUBLIC",
        "GRANT ALL ON silver.telemetry TO PUBLIC",
        "GRANT USAGE ON SEQUENCE silver.telemetry_id_seq TO PUBLIC",
    ],
    "PostgreSQL's own roles": [
        "GRANT pg_read_all_data, pg_write_all_data TO restore",
        "GRANT CREATE ON SCHEMA silver TO restore",
    ],
    "columns": [
        "GRANT USAGE, CREATE ON SCHEMA silver TO restore",
        "GRANT SELECT, DELETE, INSERT (time, v) ON silver.telemetry TO restore",
        "GRANT UPDATE ON SEQUENCE silver.telemetry_id_seq TO restore",
    ],
}


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_what_postgresql_would_allow_is_not_refused(app: App, way: str) -> None:
    case = set_up(app, Mode("", (), EVERYTHING, csv=WITHOUT_ID, has_rows=True))
    if way == "member of the owner":
        case.give_to_an_owner()
    case.run(*OTHER_WAYS[way])
    plan = case.restore(dry_run=True).body["dry_run"]
    assert ([right for right in plan["permissions_missing"] if right["needed"]], plan["problems"]) == ([], [])
    assert case.restore().body["rows_loaded"] == 2
    assert case.rows() == 2


def test_the_day_may_be_counted_by_its_column_alone(app: App) -> None:
    case = set_up(app, Mode("", ("Always",), {"destination": APPEND}))
    case.run("GRANT SELECT (time) ON silver.telemetry TO restore")
    assert case.restore().body["verification"]["rows_after"] == 2


def test_rights_on_columns_alone_do_not_lock_the_table(app: App) -> None:
    """PostgreSQL itself refuses the load then, so it is not started."""
    case = set_up(app, Mode("", (), {"destination": APPEND, "verify": False}))
    case.run("GRANT USAGE ON SCHEMA silver TO restore", "GRANT INSERT (id, time, v) ON silver.telemetry TO restore")
    assert case.restore().body["error"]["message"] == case.here("the role restore lacks INSERT on silver.telemetry")


@pytest.mark.parametrize(("policy", "code"), [("skip", None), ("error", "WindowNotEmpty")])
def test_nothing_is_asked_for_what_is_not_done(app: App, policy: str, code: str | None) -> None:
    """The day has rows, so nothing is written: that takes no right to write."""
    case = set_up(app, Mode("", DIRECT, {"destination": {"on_existing": policy}}, has_rows=True))
    case.run("REVOKE INSERT ON silver.telemetry FROM restore")
    answer = case.restore()
    assert (answer.code, answer.body["status"]) == (code, "error" if code else "skipped")
    plan = case.restore(dry_run=True).body["dry_run"]
    assert [right["right"] for right in plan["permissions_missing"] if right["needed"]] == ["INSERT"]
    assert ("DatabasePermissionDenied" in [problem["code"] for problem in plan["problems"]]) is (code is not None)
    # Nor is DELETE asked for on an empty day.
    case.run("GRANT INSERT ON silver.telemetry TO restore")
    app.database.execute("DELETE FROM {s}.telemetry")
    assert case.restore(destination=REPLACE).body["status"] == "ok"


def test_the_table_that_staging_is_made_like(app: App) -> None:
    case = set_up(app, Mode("", STAGING, csv=WITHOUT_ID))
    app.database.execute("CREATE TABLE {s}.model (id serial, time timestamptz, v int)")
    like = {"mode": "staging", "create_staging_like": "model"}
    case.run(*grants("For a serial column"))
    for right, on in (("SELECT", "silver.model"), ("USAGE", "sequence silver.model_id_seq")):
        error = case.restore(destination=like).body["error"]
        assert (error["details"][0]["right"], error["details"][0]["target"]) == (right, case.here(on))
        case.run(f"GRANT {right} ON {on} TO restore")
    assert case.restore(destination=like).body["rows_loaded"] == 2


def test_a_sequence_behind_a_function_is_the_functions_own(app: App) -> None:
    case = set_up(app, Mode("", DIRECT, csv=WITHOUT_ID))
    case.run(
        "CREATE FUNCTION silver.next(what regclass) RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT pg_catalog.nextval(what)'",
        "ALTER TABLE silver.telemetry ALTER id SET DEFAULT silver.next('silver.telemetry_id_seq'::regclass)",
    )
    assert case.restore().body["rows_loaded"] == 2


def test_a_table_without_a_day_that_may_not_be_looked_at(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.telemetry (v int)")
    case = RightsCase(app, Mode("", (), csv=b"v\n1\n"), app.database.role())
    case.run(*grants("Always"))
    assert case.restore().body["error"]["message"] == case.here("the role restore lacks SELECT on silver.telemetry")
    case.run(*grants("To count the day"))
    assert case.restore().body["rows_loaded"] == 1


def test_the_schema_of_the_chunks(app: App) -> None:
    """A hypertable may have another one than TimescaleDB's own, and the load names its chunks to lock them."""
    chunks = f"{app.database.schema}_chunks"
    app.database.execute(f"CREATE TABLE {{s}}.telemetry ({COLUMNS})")
    app.database.execute(f"CREATE SCHEMA {chunks}")
    app.database.execute(
        "SELECT public.create_hypertable('{s}.telemetry', 'time', associated_schema_name => %s)", chunks
    )
    app.database.execute(ROW_OF_THE_DAY)
    case = RightsCase(app, Mode("", (), {"destination": APPEND}), app.database.role())
    case.run(*grants(*DIRECT))
    try:
        assert case.restore().body["error"]["message"] == f"the role {case.role} lacks USAGE on schema {chunks}"
        case.run(f"GRANT USAGE ON SCHEMA {chunks} TO restore")
        assert case.restore().body["rows_loaded"] == 2
    finally:
        app.database.execute("DROP TABLE {s}.telemetry")
        app.database.execute(f"DROP SCHEMA {chunks} CASCADE")
