"""Which tables a request may name. That nothing is connected to before is shown by test_foreign_hosts.py."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import StorageAccountNotAllowed, TargetNotAllowed
from shared.model.request import RestoreRequest
from shared.restore.access import authorize
from shared.settings import LibpqVariables, Settings


def enter(path: str = "d/silver.telemetry.2025-01-01.csv.gz", destination: Any = None, **settings: Any) -> None:
    url = f"abfss://archive@account.dfs.core.windows.net/{path}"
    request = RestoreRequest.model_validate({"adls_url": url, "destination": destination or {}})
    authorize(request, Settings(libpq=LibpqVariables(host="localhost"), **settings))


@pytest.mark.parametrize(
    "patterns",
    [
        ("silver.telemetry",),
        ("silver.*",),
        ("*.telemetry",),
        ("*.*",),
        ("silver.tele?etry",),
        ("s?lver.t*y",),
        ("other.x", "silver.telemetry"),
    ],
)
def test_a_table_that_is_listed(patterns: tuple[str, ...]) -> None:
    enter(allowed_targets=patterns)


@pytest.mark.parametrize(
    "patterns",
    [
        ("silver.other",),
        ("gold.*",),
        ("silver.tele?try",),
        ("silver.telemetr",),
        ("ilver.telemetry",),
        ("SILVER.telemetry",),
        ("silver.Telemetry",),
        ("silver.[a-z]*",),
        ("silver.telemetry.*",),
        ("s.*",),
    ],
)
def test_a_table_that_is_not(patterns: tuple[str, ...]) -> None:
    with pytest.raises(TargetNotAllowed) as caught:
        enter(allowed_targets=patterns)
    assert caught.value.target == "destination.target_table"


def test_the_first_dot_divides() -> None:
    path = "d/silver.tele.metry.2025-01-01.csv.gz"
    enter(path, allowed_targets=("silver.tele.metry",))
    enter(path, allowed_targets=("silver.*",))
    with pytest.raises(TargetNotAllowed):
        enter(path, {"target_table": '"silver.tele"."metry"'}, allowed_targets=("silver.*",))


def test_a_line_break_is_any_character_too() -> None:
    with pytest.raises(TargetNotAllowed):
        enter(destination={"target_table": "silver.telemetry\nx"}, allowed_targets=("silver.telemetry",))
    enter(destination={"target_table": "silver.telemetry\nx"}, allowed_targets=("silver.telemetry*",))


def test_what_staging_is_made_like_is_listed_too() -> None:
    destination = {"mode": "staging", "create_staging_like": "gold.secret"}
    with pytest.raises(TargetNotAllowed) as caught:
        enter(destination=destination, allowed_targets=("silver.*",))
    assert caught.value.target == "destination.create_staging_like"
    enter(destination=destination, allowed_targets=("silver.*", "gold.secret"))


@pytest.mark.parametrize(
    "table",
    [
        "pg_catalog.pg_authid",
        "pg_toast.x",
        "information_schema.sql_features",
        "_timescaledb_internal._hyper_1_1_chunk",
        "_timescaledb_internal.compress_hyper_2_4_chunk",
        "_timescaledb_catalog.hypertable",
        "timescaledb_information.chunks",
    ],
)
def test_what_is_the_servers_own_is_never_written(table: str) -> None:
    for destination in ({"target_table": table}, {"mode": "staging", "create_staging_like": table}):
        with pytest.raises(TargetNotAllowed, match="the server's own"):
            enter(destination=destination, allowed_targets=("*.*",))


def test_an_account_that_is_not_listed() -> None:
    with pytest.raises(StorageAccountNotAllowed):
        enter(adls_allowed_accounts=("account/other",))
    enter(adls_allowed_accounts=("account/archive",))
