"""Ways to have a right that are not on the page, and rights that are not asked for."""

from __future__ import annotations

import pytest

from tests.integration.fix_rights import (
    APPEND,
    COLUMNS,
    DIRECT,
    REPLACE,
    ROW_OF_THE_DAY,
    STAGING,
    WITHOUT_ID,
    Mode,
    RightsScene,
    grants,
    set_up,
)
from tests.integration.fix_site import Site

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
def test_what_postgresql_would_allow_is_not_refused(site: Site, way: str) -> None:
    scene = set_up(site, Mode("", (), EVERYTHING, csv=WITHOUT_ID, has_rows=True))
    if way == "member of the owner":
        scene.give_to_an_owner()
    scene.run(*OTHER_WAYS[way])
    plan = scene.restore(dry_run=True).body["dry_run"]
    assert ([right for right in plan["permissions_missing"] if right["needed"]], plan["problems"]) == ([], [])
    assert scene.restore().body["rows_inserted"] == 2
    assert scene.rows() == 2


def test_the_day_may_be_counted_by_its_column_alone(site: Site) -> None:
    scene = set_up(site, Mode("", ("Always",), {"destination": APPEND}))
    scene.run("GRANT SELECT (time) ON silver.telemetry TO restore")
    assert scene.restore().body["verification"]["rows_after"] == 2


def test_rights_on_columns_alone_do_not_lock_the_table(site: Site) -> None:
    """PostgreSQL itself refuses the load then, so it is not started."""
    scene = set_up(site, Mode("", (), {"destination": APPEND, "verify": False}))
    scene.run("GRANT USAGE ON SCHEMA silver TO restore", "GRANT INSERT (id, time, v) ON silver.telemetry TO restore")
    assert scene.restore().body["error"]["message"] == scene.here("the role restore lacks INSERT on silver.telemetry")


@pytest.mark.parametrize(("policy", "code"), [("skip", None), ("error", "WindowNotEmpty")])
def test_nothing_is_asked_for_what_is_not_done(site: Site, policy: str, code: str | None) -> None:
    """The day has rows, so nothing is written: that takes no right to write."""
    scene = set_up(site, Mode("", DIRECT, {"destination": {"on_existing": policy}}, has_rows=True))
    scene.run("REVOKE INSERT ON silver.telemetry FROM restore")
    answer = scene.restore()
    assert (answer.code, answer.body["status"]) == (code, "error" if code else "skipped")
    plan = scene.restore(dry_run=True).body["dry_run"]
    assert [right["right"] for right in plan["permissions_missing"]] == ["INSERT"]
    assert ("DatabasePermissionDenied" in [problem["code"] for problem in plan["problems"]]) is (code is not None)
    # Nor is DELETE asked for on an empty day.
    scene.run("GRANT INSERT ON silver.telemetry TO restore")
    site.database.execute("DELETE FROM {s}.telemetry")
    assert scene.restore(destination=REPLACE).body["status"] == "ok"


def test_the_table_that_staging_is_made_like(site: Site) -> None:
    scene = set_up(site, Mode("", STAGING, csv=WITHOUT_ID))
    site.database.execute("CREATE TABLE {s}.model (id serial, time timestamptz, v int)")
    like = {"mode": "staging", "create_staging_like": "model"}
    scene.run(*grants("For a serial column"))
    for right, on in (("SELECT", "silver.model"), ("USAGE", "sequence silver.model_id_seq")):
        error = scene.restore(destination=like).body["error"]
        assert (error["details"][0]["right"], error["details"][0]["target"]) == (right, scene.here(on))
        scene.run(f"GRANT {right} ON {on} TO restore")
    assert scene.restore(destination=like).body["rows_inserted"] == 2


def test_a_sequence_behind_a_function_is_the_functions_own(site: Site) -> None:
    scene = set_up(site, Mode("", DIRECT, csv=WITHOUT_ID))
    scene.run(
        "CREATE FUNCTION silver.next(what regclass) RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT pg_catalog.nextval(what)'",
        "ALTER TABLE silver.telemetry ALTER id SET DEFAULT silver.next('silver.telemetry_id_seq'::regclass)",
    )
    assert scene.restore().body["rows_loaded"] == 2


def test_a_table_without_a_day_that_may_not_be_looked_at(site: Site) -> None:
    site.database.execute("CREATE TABLE {s}.telemetry (v int)")
    scene = RightsScene(site, Mode("", (), csv=b"v\n1\n"), site.database.role())
    scene.run(*grants("Always"))
    assert scene.restore().body["error"]["message"] == scene.here("the role restore lacks SELECT on silver.telemetry")
    scene.run(*grants("To count the day"))
    assert scene.restore().body["rows_loaded"] == 1


def test_the_schema_of_the_chunks(site: Site) -> None:
    """A hypertable may have another one than TimescaleDB's own, and the load names its chunks to lock them."""
    chunks = f"{site.database.schema}_chunks"
    site.database.execute(f"CREATE TABLE {{s}}.telemetry ({COLUMNS})")
    site.database.execute(f"CREATE SCHEMA {chunks}")
    site.database.execute(
        "SELECT public.create_hypertable('{s}.telemetry', 'time', associated_schema_name => %s)", chunks
    )
    site.database.execute(ROW_OF_THE_DAY)
    scene = RightsScene(site, Mode("", (), {"destination": APPEND}), site.database.role())
    scene.run(*grants(*DIRECT))
    try:
        assert scene.restore().body["error"]["message"] == f"the role {scene.role} lacks USAGE on schema {chunks}"
        scene.run(f"GRANT USAGE ON SCHEMA {chunks} TO restore")
        assert scene.restore().body["rows_loaded"] == 2
    finally:
        site.database.execute("DROP TABLE {s}.telemetry")
        site.database.execute(f"DROP SCHEMA {chunks} CASCADE")
