"""Compression and aggregates, which are their owner's alone: by membership, and the warnings without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_rights import (
    APPEND,
    COLUMNS,
    DIRECT,
    REPLACE,
    Mode,
    RightsCase,
    grants,
    nothing_for_everybody,
)

pytestmark = pytest.mark.community

OWNER = "For compression and aggregates"
SEQUENCES = "To be warned of sequences"
ALL_CAGGS = {"refresh_caggs": "all"}


@pytest.fixture(autouse=True)
def hardened(community_app: App) -> Iterator[None]:
    with nothing_for_everybody(community_app.database):
        yield


@pytest.fixture
def case(community_app: App) -> RightsCase:
    """Make a compressed day and an aggregate that belong to an owner, and a role that has nothing."""
    database = community_app.database
    database.hypertable("telemetry", COLUMNS)
    database.execute("ALTER TABLE {s}.telemetry SET (timescaledb.compress)")
    database.execute("INSERT INTO {s}.telemetry VALUES (7, '2025-01-01 05:00Z', 7)")
    database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.telemetry') c")
    database.execute(
        "CREATE MATERIALIZED VIEW {s}.daily WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        " SELECT public.time_bucket('1 day', time) AS bucket, sum(v) AS total FROM {s}.telemetry"
        " GROUP BY 1 WITH NO DATA"
    )
    # Past the ids of the archive: what a sequence is warned of is shown elsewhere.
    database.execute("SELECT setval('{s}.telemetry_id_seq', 1000)")
    case = RightsCase(community_app, Mode("", ()), database.role())
    case.give_to_an_owner()
    case.run("ALTER MATERIALIZED VIEW silver.daily OWNER TO telemetry_owner")
    return case


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize("policy", [APPEND, REPLACE], ids=["append", "replace"])
def test_membership_in_the_owner_is_enough(case: RightsCase, mode: str, policy: dict[str, str]) -> None:
    """Beside it only what is on the database and on the schema."""
    wanted = [*grants("Always"), *(grants("For staging") if mode == "staging" else ()), *grants(OWNER)]
    case.run(*(grant for grant in wanted if " ON silver.telemetry " not in grant))
    destination = {"mode": mode} | policy
    plan = case.restore(dry_run=True, destination=destination, timescaledb=ALL_CAGGS).body["dry_run"]
    assert plan["permissions_missing"] == []
    body = case.restore(destination=destination, timescaledb=ALL_CAGGS).body
    outcomes = {name: body["timescaledb"][name] for name in ("decompress_window", "recompress_window", "refresh_caggs")}
    assert (body["status"], set(outcomes.values())) == ("ok", {"done"}), body
    assert case.rows() == (3 if policy == APPEND else 2)
    assert case.app.database.value("SELECT total FROM {s}.daily") == (10 if policy == APPEND else 3)


def test_without_it_each_warning_names_what_is_lacking(case: RightsCase) -> None:
    case.run(*grants(*DIRECT, SEQUENCES))
    request = {"destination": APPEND, "timescaledb": ALL_CAGGS}
    plan = case.restore(dry_run=True, **request).body["dry_run"]
    on = [case.here(name) for name in ("silver.telemetry", "silver.daily")]
    assert plan["permissions_missing"] == [{"right": "ownership", "on": name, "needed": False} for name in on]
    assert plan["problems"] == []
    body = case.restore(**request).body
    told = {warning["code"]: warning["message"] for warning in body["warnings"]}
    table, cagg = (f"the role {case.role} lacks ownership of {name}" for name in on)
    assert set(told) == {"DecompressFailed", "RecompressFailed", "RefreshFailed"}
    assert all(table in told[code] for code in ("DecompressFailed", "RecompressFailed"))
    assert cagg in told["RefreshFailed"]
    assert [step["error"]["message"] for step in body["chunks"]] == [table] * 2
    assert case.rows() == 3


def test_replace_on_a_compressed_chunk_by_somebody_else_than_its_owner(case: RightsCase) -> None:
    case.run(*grants(*DIRECT, "For replace"))
    body = case.restore(destination=REPLACE).body
    assert (body["rows_removed"], body["removed_by"], case.rows()) == (1, "delete", 2)


def test_the_schema_where_the_request_leaves_the_choice(case: RightsCase) -> None:
    """How large the packed rows are cannot be asked either. The rows go beside them."""
    case.run(*grants(*DIRECT), *grants(OWNER), "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    try:
        body = case.restore(destination=APPEND, timescaledb={"decompress_window": "auto"}).body
    finally:
        case.run("GRANT USAGE ON SCHEMA public TO PUBLIC")
    assert [warning["code"] for warning in body["warnings"]] == ["RecompressFailed"]
    assert (body["timescaledb"]["decompress_window"], case.rows()) == ("nothing to do", 3)


def test_new_chunks_that_the_role_may_not_compress(case: RightsCase) -> None:
    case.run(
        *grants(*DIRECT, SEQUENCES),
        "SELECT public.drop_chunks('silver.telemetry', older_than => timestamptz '2100-01-01')",
    )
    request = {"destination": APPEND, "timescaledb": {"compress_new_chunks": True}}
    plan = case.restore(dry_run=True, **request).body["dry_run"]
    missing = {"right": "ownership", "on": case.here("silver.telemetry"), "needed": False}
    assert plan["permissions_missing"] == [missing]
    assert [warning["code"] for warning in case.restore(**request).body["warnings"]] == ["CompressFailed"]


def test_the_schema_of_the_extensions_functions(case: RightsCase) -> None:
    case.run(*grants(*DIRECT), *grants(OWNER), "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    try:
        body = case.restore(destination=APPEND).body
        assert all(f"the role {case.role} lacks USAGE on schema public" in w["message"] for w in body["warnings"])
        assert len(body["warnings"]) == 2
        case.run("GRANT USAGE ON SCHEMA public TO restore")
        assert case.restore(destination=APPEND).body["status"] == "ok"
    finally:
        case.run("GRANT USAGE ON SCHEMA public TO PUBLIC")
