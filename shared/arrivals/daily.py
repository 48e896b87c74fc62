"""Once a day: restores days that are archived and not restored, as far as the rules look back."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone

from shared.api.handle import new_report
from shared.api.parse import parse_for
from shared.archive.listing import list_paths
from shared.archive.stored import FoundArchive
from shared.arrivals.order import order
from shared.arrivals.rules import Rule, find_rule, load_rules
from shared.calendar.look import Question, look_at_days
from shared.calendar.pattern import days_between, read_pattern
from shared.errors import RestoreError
from shared.log_redaction import OUR_LOGGER
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)

# What is missing, failed, present or unknown is not for a timer: a person has to look.
_TO_RESTORE = ("archived", "stale")


def restore_daily(today: date | None = None) -> None:
    """Order the restore of each day that a daily rule finds archived, or stale. Running it twice changes nothing.

    If nothing can be found out about a table, that is an error in the log, and the other tables go on.

    Args:
        today: the day after the last one that is looked at; by default the present one in UTC.

    Raises:
        ConfigurationError: the settings or the rules are wrong.
    """
    settings = load_settings()
    rules = load_rules(settings)
    last = (today or datetime.now(timezone.utc).date()) - timedelta(days=1)
    for rule in rules:
        if rule.daily:
            days = list(days_between(last - timedelta(days=rule.lookback - 1), last))
            try:
                for pattern in _patterns(rule, days, settings):
                    _restore_days(rules, rule, pattern, days, settings)
            except RestoreError as error:
                _log.error("rule=%s %s: %s", rule.name, error.code, error.message)


def _patterns(rule: Rule, days: Sequence[date], settings: Settings) -> Iterator[str]:
    """Yield the patterns that a rule stands for: one for each table that has an archive of one of the days."""
    if "*" not in rule.pattern:
        yield rule.pattern
        return
    prefixes = {rule.prefix(day): day for day in days}
    found: set[str] = set()
    for prefix, day in prefixes.items():
        for path in list_paths(rule.location(day), prefix, settings):
            found.update(filled for day in days if (filled := rule.fill(day, path)) is not None)
    yield from sorted(found)


def _restore_days(rules: Sequence[Rule], rule: Rule, text: str, days: Sequence[date], settings: Settings) -> None:
    try:
        pattern = read_pattern(text, settings)
        request = parse_for(json.dumps(rule.body(pattern.url(days[0]))).encode(), settings)
        known = look_at_days(Question(pattern, request, days), settings, new_report())
    except RestoreError as error:
        _log.error("rule=%s %s of %s: %s", rule.name, error.code, text, error.message)
        return
    for day, facts in known.items():
        location = pattern.location(day)
        if facts.state in _TO_RESTORE and facts.archive is not None and find_rule(rules, location) is rule:
            found = FoundArchive(facts.archive.size, facts.archive.etag, "")
            try:
                order(rule, location, found, settings, delay_seconds=0)
            except RestoreError as error:
                _log.error("rule=%s %s of %s: %s", rule.name, error.code, location.url, error.message)
