"""A real browser before the page of a running local host, with restores of every outcome behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from benchmarks.page import open_chromium
from shared.jobs.operation import ENDED
from tests.integration.fix_app import App
from tests.integration.fix_calendar import set_server
from tests.integration.fix_host import Host, running_host
from tests.integration.fix_job_storage import empty_job_storage
from tools.config import REPOSITORY
from tools.process import wait_until

AXE = (REPOSITORY / ".work/axe/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@dataclass
class Site:
    """The local host, and what was restored behind it."""

    app: App
    host: Host
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.host.port}/api/ui"

    @property
    def pattern(self) -> str:
        return self.app.storage.url(self.app.path("telemetry", "2025-01-05")).replace("2025-01-05", "{date}")

    def post(self, day: str, table: str = "telemetry", **request: Any) -> str:
        """Send an asynchronous restore, and return its id."""
        url = self.app.storage.url(self.app.path(table, day))
        body = {"adls_url": url, "async": True} | request
        reply = self.host.ask("POST", "/api/restore", json.dumps(body).encode(), {"content-type": "application/json"})
        assert reply.status == 202, reply.body
        return str(json.loads(reply.body)["id"])

    def backfill(self, first: str, last: str) -> str:
        """Start a backfill of a range of days, and return its id."""
        body = {"adls_url": self.pattern, "dates": {"from": first, "to": last}}
        reply = self.host.ask("POST", "/api/backfills", json.dumps(body).encode(), {"content-type": "application/json"})
        assert reply.status == 202, reply.body
        return str(json.loads(reply.body)["id"])

    def ended_backfill(self, first: str, last: str) -> str:
        """Restore a range of days, wait for the end, and return the backfill's id."""
        found = self.backfill(first, last)
        assert wait_until(lambda: self.status(found, "backfills") in ENDED, 90)
        return found

    @contextmanager
    def table_held(self) -> Iterator[None]:
        """Keep every restore of the table from its rows."""
        with closing(self.app.database.session()) as session, session, session.cursor() as cursor:
            cursor.execute(f'LOCK TABLE "{self.app.database.schema}".telemetry IN SHARE MODE')
            yield

    def status(self, operation_id: str, kind: str = "restores") -> str:
        return str(json.loads(self.host.ask("GET", f"/api/{kind}/{operation_id}").body)["status"])


@pytest.fixture
def site(app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """Days of a table: restored, archived, failed and missing."""
    set_server(app, monkeypatch)
    # Longer than a test holds the table.
    monkeypatch.setenv("PG_LOCK_TIMEOUT_SECONDS", "300")
    empty_job_storage()
    app.database.hypertable("telemetry", "time timestamptz NOT NULL, v int")
    for number in range(1, 29):
        value = "x" if number == 5 else str(number)
        if number not in {7, 8}:
            day = f"2025-01-{number:02}"
            app.archive("telemetry", f"time,v\n{day} 01:00Z,{value}\n".encode(), day=day)
    with running_host(REPOSITORY, tmp_path / "host.log", os.environ) as host:
        found = Site(app, host)
        for day in ("2025-01-01", "2025-01-02", "2025-01-05", "2025-01-07"):
            found.ids[day] = found.post(day)
        assert wait_until(lambda: all(found.status(one) in ENDED for one in found.ids.values()), 60)
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with open_chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:  # noqa: ARG001 - its end comes after ours
    """A tab in which nothing may go wrong unseen: an error of a script, or what the policy of the page forbids."""
    said: list[str] = []
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        found = context.new_page()
        found.set_default_timeout(20_000)
        found.on("pageerror", lambda error: said.append(str(error)))
        found.on("console", lambda message: said.append(message.text) if "Failed to load" not in message.text else None)
        yield found
        # What a test answers in the app's place may be under way.
        found.unroute_all(behavior="ignoreErrors")
    assert said == []


def violations(page: Page) -> list[str]:
    """Return what axe-core finds in the page that shuts people out."""
    # Beside the page's own policy, as an extension of the browser would.
    page.evaluate(AXE)
    found = page.evaluate("axe.run()")
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]
