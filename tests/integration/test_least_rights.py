"""The SQL of docs/security.md, run: a role with exactly these rights restores, and an error names a missing one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_rights import (
    APPEND,
    DIRECT,
    REPLACE,
    STAGING,
    WITHOUT_ID,
    Mode,
    blocks,
    grants,
    nothing_for_everybody,
    set_up,
)

BY_STAGING = {"mode": "staging"}
REFERRED_TO = (
    "ALTER TABLE {s}.telemetry ADD UNIQUE (id, time)",
    (
        "CREATE TABLE {s}.alarm (id int, time timestamptz,"
        " FOREIGN KEY (id, time) REFERENCES {s}.telemetry (id, time) ON DELETE CASCADE)"
    ),
)
MODES = [
    Mode("direct", DIRECT),
    Mode("plain table", DIRECT, is_plain=True),
    Mode("append", DIRECT, {"destination": APPEND}, has_rows=True),
    Mode("unverified", ("Always",), {"destination": APPEND, "verify": False}, has_rows=True),
    Mode("skip", DIRECT, {"destination": {"on_existing": "skip"}}),
    Mode("staging", STAGING, {"destination": BY_STAGING}),
    Mode("staging into a plain table", STAGING, {"destination": BY_STAGING}, is_plain=True),
    Mode("staging unverified", ("Always", "For staging"), {"destination": BY_STAGING, "verify": False}),
    Mode("replace", (*DIRECT, "For replace", "For a quick replace"), {"destination": REPLACE}, has_rows=True),
    Mode("replace by delete", (*DIRECT, "For replace"), {"destination": REPLACE}, has_rows=True),
    Mode("replace by staging", (*STAGING, "For replace"), {"destination": REPLACE | BY_STAGING}, has_rows=True),
    Mode(
        "replace what is referred to",
        (*DIRECT, "For replace", "For replace where foreign keys refer to the table"),
        {"destination": REPLACE},
        has_rows=True,
        before=REFERRED_TO,
    ),
    Mode("advanced", (*DIRECT, "To advance sequences"), {"destination": {"sequences": "advance"}}),
    Mode("serial", (*DIRECT, "For a serial column"), csv=WITHOUT_ID),
    Mode("serial by staging", (*STAGING, "For a serial column"), {"destination": BY_STAGING}, csv=WITHOUT_ID),
]
each_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
each_right = pytest.mark.parametrize(
    ("mode", "right", "on"),
    [
        pytest.param(mode, *right, id=f"{mode.name}: {' on '.join(right)}")
        for mode in MODES
        for right in mode.single_rights()
    ],
)


@pytest.fixture(autouse=True)
def hardened(app: App) -> Iterator[None]:
    with nothing_for_everybody(app.database):
        yield


def test_every_block_of_the_page_is_run() -> None:
    run = {heading for mode in MODES for heading in mode.headings}
    # These are in test_rights_of_owners.py, since one takes the community edition.
    of_owners = {"For compression and aggregates", "For deferred indexes"}
    # Below, and in test_sequences.py.
    assert set(blocks()) - run == of_owners | {"For a dry run in full", "To be warned of sequences"}


def test_a_dry_run_in_full(app: App) -> None:
    mode = Mode("dry run", (*DIRECT, "For a dry run in full"), {"dry_run": "full"})
    case = set_up(app, mode)
    assert case.restore().body["dry_run"]["not_checked"] == []
    for statement in grants("For a dry run in full"):
        case.run(
            statement.replace("GRANT", "REVOKE").replace(" TO ", " FROM "),
            "GRANT SELECT (time) ON silver.telemetry TO restore",
        )
        found = case.restore().body["dry_run"]
        assert found["not_checked"] == ["values", "window", "duplicates"]
        missing = [right for right in found["permissions_missing"] if "sequence" not in right["on"]]
        assert [right["needed"] for right in missing] == [False]
        case.run(statement)


def test_an_owner_with_one_right_more_defers_indexes(app: App) -> None:
    case = set_up(app, MODES[0])
    case.give_to_an_owner()
    # Past the file's values, of which an owner would be warned.
    case.run(*grants("For compression and aggregates"), "SELECT setval('silver.telemetry_id_seq', 100)")
    kept = case.restore().body["copy"]
    code = "MissingCreate" if app.database.version >= (2, 22) else "TimescaleDBVersion"
    assert (kept["indexes_deferred"], [one["code"] for one in kept["indexes_kept"]]) == ([], [code])
    case.run(*grants("For deferred indexes"), "DELETE FROM silver.telemetry")
    app.database.execute("SELECT public.drop_chunks('{s}.telemetry', older_than => timestamptz '2100-01-01')")
    fast = case.restore().body
    assert fast["status"] == "ok", fast
    assert bool(fast["copy"]["indexes_deferred"]) == (app.database.version >= (2, 22))


@each_mode
def test_exactly_these_rights_are_enough(app: App, mode: Mode) -> None:
    case = set_up(app, mode)
    plan = case.restore(dry_run=True).body["dry_run"]
    assert [right for right in plan["permissions_missing"] if right["needed"]] == plan["problems"] == []
    body = case.restore().body
    assert (body["status"], body["rows_loaded"]) == ("ok", 2), body
    replaced = mode.request.get("destination", {}).get("on_existing") == "replace"
    assert case.rows() == (2 if replaced or not mode.has_rows else 3)
    assert body.get("removed_by") == (("truncate" if mode.name == "replace" else "delete") if replaced else None)


@each_right
def test_each_right_that_is_missing_is_named_before_anything_is_written(
    app: App, mode: Mode, right: str, on: str, caplog: pytest.LogCaptureFixture
) -> None:
    case = set_up(app, mode)
    before = case.rows()
    case.run(f"REVOKE {right} ON {on} FROM restore")
    target = case.here(re.sub(r"^[A-Z]+ ", lambda kind: kind[0].lower(), on))
    lacks = f"the role {case.role} lacks {right} on {target}"

    answer = case.restore()
    assert (answer.status, answer.code) == (403, "DatabasePermissionDenied"), answer.body
    error = answer.body["error"]
    assert error["message"] == lacks
    facts = {"role": case.role, "right": right, "target": target, "message": lacks, "code": answer.code}
    assert error["details"] == [facts]
    assert "GRANT <right> ON <target> TO <role>" in error["hint"]
    # The look at the table, before the first lock; CONNECT is asked even earlier.
    assert f"failed_in={'connect' if right == 'CONNECT' else 'inspect'}" in caplog.text
    assert case.rows() == before

    plan = case.restore(dry_run=True).body
    if right == "CONNECT":
        assert plan["error"]["message"] == lacks
    else:
        assert {"right": right, "on": target, "needed": True} in plan["dry_run"]["permissions_missing"]
        assert plan["dry_run"]["problems"] == [{"code": "DatabasePermissionDenied", "message": lacks}]


def test_all_that_is_missing_is_named_at_once(app: App) -> None:
    case = set_up(app, MODES[0])
    case.run("REVOKE ALL ON silver.telemetry FROM restore", "REVOKE ALL ON SCHEMA silver FROM restore")
    error = case.restore(destination=REPLACE | BY_STAGING).body["error"]
    assert {detail["right"] for detail in error["details"]} == {"USAGE", "CREATE", "SELECT", "INSERT", "DELETE"}
    assert len(error["details"]) == 5
    assert all(f"{detail['right']} on {detail['target']}" in error["message"] for detail in error["details"])


def test_a_dry_run_names_what_would_be_quicker(app: App) -> None:
    case = set_up(app, next(mode for mode in MODES if mode.name == "replace by delete"))
    plan = case.restore(dry_run=True).body["dry_run"]
    assert plan["permissions_missing"] == [
        {"right": "TRUNCATE", "on": case.here("silver.telemetry"), "needed": False},
        {"right": "SELECT", "on": case.here("sequence silver.telemetry_id_seq"), "needed": False},
    ]
