"""Asks `GET /api/days` as the host does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from shared.api.call import HttpCall
from shared.calendar.http import get_days
from tests.fix_contract import OPERATIONS, check_answer
from tests.integration.fix_app import Answer, App


@dataclass
class Calendar:
    """The days of a table `t` whose server the settings name."""

    app: App
    table: str = "t"

    @property
    def pattern(self) -> str:
        return self.app.storage.url(self.app.path(self.table, "2025-01-01")).replace("2025-01-01", "{date}")

    def ask(self, first: str, last: str, **query: str) -> Answer:
        asked = {"adls_url": self.pattern, "from": first, "to": last} | query
        call = HttpCall("GET", "http://localhost:7071/api/days", {}, asked, {}, b"")
        answer = get_days(call)
        body = json.loads(answer.body)
        check_answer(answer.status, answer.headers, body, OPERATIONS["listDays"])
        return Answer(answer.status, body, answer.headers)

    def days(self, first: str, last: str, **query: str) -> dict[str, dict[str, Any]]:
        answer = self.ask(first, last, **query)
        assert answer.status == 200, answer.body
        return {day["day"]: day for day in answer.body["value"]}

    def states(self, first: str, last: str, **query: str) -> dict[str, str]:
        return {day: facts["state"] for day, facts in self.days(first, last, **query).items()}


@pytest.fixture
def calendar(app: App, monkeypatch: pytest.MonkeyPatch) -> Calendar:
    set_server(app, monkeypatch)
    return Calendar(app)


@pytest.fixture
def community_calendar(community_app: App, monkeypatch: pytest.MonkeyPatch) -> Calendar:
    set_server(community_app, monkeypatch)
    return Calendar(community_app)


def set_server(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the settings name the test's server."""
    for name in ("host", "port", "user", "password", "sslmode"):
        if app.database.pg.get(name):
            monkeypatch.setenv(f"PG{name.upper()}", str(app.database.pg[name]))
