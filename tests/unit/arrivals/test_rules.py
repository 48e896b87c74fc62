from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from shared.arrivals.rules import find_rule, load_rules
from shared.errors import ConfigurationError
from shared.model.location import parse_adls_url
from shared.settings import Settings, load_settings

DAY = date(2025, 1, 5)
RULE = {"name": "all", "pattern": "backups/db/silver.*.{date}.csv.gz"}


def settings_of(*rules: Any) -> Settings:
    return load_settings(
        {
            "ADLS_ACCOUNT_URL_DEFAULT": "https://account.dfs.core.windows.net",
            "ADLS_FILESYSTEM_DEFAULT": "fs1",
            "RESTORE_RULES": json.dumps(rules),
        }
    )


def test_without_the_setting_there_is_no_rule() -> None:
    assert load_rules(load_settings({})) == ()
    assert load_rules(settings_of()) == ()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("fs1/backups/db/silver.telemetry.2025-01-05.csv.gz", "all"),
        ("fs1/backups/db/silver.with%20blank.2025-01-05.csv.gz", "all"),
        ("fs1/backups/db/gold.telemetry.2025-01-05.csv.gz", "gold"),
        ("fs1/backups/other/silver.telemetry.2025-01-05.csv.gz", None),
        ("fs1/backups/db/more/silver.telemetry.2025-01-05.csv.gz", None),
        ("fs2/backups/db/silver.telemetry.2025-01-05.csv.gz", None),
        ("fs1/2025-01-05/db/bronze.t.2025-01-05.csv.gz", "folder"),
        ("fs1/2025-01-04/db/bronze.t.2025-01-05.csv.gz", None),
    ],
)
@pytest.mark.parametrize("host", ["blob", "dfs"])
def test_a_rule_is_found_by_the_path(host: str, path: str, expected: str | None) -> None:
    """The first rule counts; a `*` ends at a slash; each `{date}` is the same day."""
    gold = {"name": "gold", "pattern": "abfss://fs1@account.dfs.core.windows.net/backups/*/*.*.{date}.csv.gz"}
    folder = {"name": "folder", "pattern": "{date}/db/bronze.t.{date}.csv.gz"}
    other = {"name": "other", "pattern": "backups/db/gold.telemetry.{date}.csv.gz"}
    gold["pattern"] = gold["pattern"].replace("backups/*/*.*", "backups/db/gold.*")
    rules = load_rules(settings_of(RULE, gold, other, folder))
    found = find_rule(rules, parse_adls_url(f"https://account.{host}.core.windows.net/{path}"))
    assert (found and found.name) == expected


def test_an_account_of_the_same_name_in_another_cloud_is_another_one() -> None:
    url = "https://account.blob.core.chinacloudapi.cn/fs1/backups/db/silver.t.2025-01-05.csv.gz"
    assert find_rule(load_rules(settings_of(RULE)), parse_adls_url(url)) is None


def test_a_pattern_is_filled_with_what_a_path_has() -> None:
    (rule,) = load_rules(settings_of(RULE))
    assert rule.prefix(DAY) == "backups/db/silver."
    assert rule.fill(DAY, "backups/db/silver.a b?.2025-01-05.csv.gz") == "backups/db/silver.a%20b%3F.{date}.csv.gz"
    assert rule.fill(DAY, "backups/db/silver.t.2025-01-06.csv.gz") is None


def test_a_long_name_is_matched_with_many_stars_at_once() -> None:
    """Who may write to the queue, or into the archive, chooses the name. To try each place for each `*` takes ages."""
    (rule,) = load_rules(settings_of({"name": "stars", "pattern": f"{'*a' * 30}/1*1/db/s.*.{{date}}.csv.gz"}))
    for path, is_one in ((f"{'a' * 60}/1x1", True), (f"{'a' * 900}b/1x1", False), (f"{'a' * 30}/111", True)):
        full = f"{path}/db/s.t.2025-01-05.csv.gz"
        assert (rule.fill(DAY, full) is not None) is is_one
        filled = rule.fill(DAY, full)
        assert filled is None or filled.replace("{date}", "2025-01-05") == full


def test_a_body_has_the_rules_fields_and_those_of_the_order() -> None:
    request = {"destination": {"mode": "staging", "on_existing": "skip"}, "copy": {"format": "text"}}
    (rule,) = load_rules(settings_of(RULE | {"request": request}))
    assert rule.body("url", destination={"on_existing": "replace"}) == {
        "adls_url": "url",
        "destination": {"mode": "staging", "on_existing": "replace"},
        "copy": {"format": "text"},
    }
    assert request["destination"]["on_existing"] == "skip"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("[", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "must be a list of rules"),
        ('["a"]', "rule number 1: it: "),
        ("[{}]", "rule number 1: name: "),
        (json.dumps([{"name": "a b", "pattern": "x"}]), "rule a b: name: "),
        (json.dumps([{"name": "a"}]), "rule a: pattern: "),
        (json.dumps([RULE, RULE]), "has two rules of the name all"),
        (json.dumps([RULE | {"delay": 3}]), "rule all: delay: "),
        (json.dumps([RULE | {"delay_seconds": -1}]), "rule all: delay_seconds: "),
        (json.dumps([RULE | {"delay_seconds": True}]), "rule all: delay_seconds: "),
        (json.dumps([RULE | {"lookback": 0}]), "rule all: lookback: "),
        (json.dumps([RULE | {"daily": "yes"}]), "rule all: daily: "),
        (json.dumps([RULE | {"pattern": "backups/db/silver.t.2025-01-05.csv.gz"}]), "rule all: pattern: "),
        (json.dumps([RULE | {"pattern": "abfss://*@account.dfs.core.windows.net/x"}]), "rule all: pattern: "),
        (json.dumps([RULE | {"pattern": RULE["pattern"] + "?sv=1&sig=x"}]), "rule all: pattern: "),
        (json.dumps([RULE | {"request": {"adls_url": "x"}}]), "rule all: request: adls_url is not for rules"),
        (json.dumps([RULE | {"request": {"dry_run": True}}]), "rule all: request: dry_run is not for rules"),
        (json.dumps([RULE | {"request": {"async": True}}]), "rule all: request: async is not for rules"),
        (json.dumps([RULE | {"request": {"destination": {"mode": "no"}}}]), "rule all: request: destination.mode: "),
        (json.dumps([RULE | {"request": {"pg": {"password": "hunter2"}}}]), "rule all: request: pg.password holds"),
    ],
)
def test_a_wrong_rule_is_named_with_its_field(rules: str, message: str) -> None:
    settings = settings_of().model_copy(update={"restore_rules": rules})
    with pytest.raises(ConfigurationError) as caught:
        load_rules(settings)
    assert message in caught.value.message
    assert "hunter2" not in caught.value.message
    assert caught.value.target == "RESTORE_RULES"
