"""What the page says of work that wrote nothing, that goes on by itself, or that it does not list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from shared.jobs.operation import ENDED
from tests.browser.fix_page import Site
from tools.process import wait_until

pytestmark = pytest.mark.any_server


def ended(site: Site, day: str, **request: Any) -> str:
    found = site.post(day, **request)
    assert wait_until(lambda: site.status(found) in ENDED, 60)
    return found


def change_answers(page: Page, path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the function app answers to a GET, for a state that lasts too short to be caught."""

    def answer(route: Route) -> None:
        found = route.fetch()
        body = json.loads(found.text())
        for one in body.get("value", [body]):
            change(one)
        route.fulfill(response=found, body=json.dumps(body))

    page.route(re.compile(path), answer)


def test_a_success_that_wrote_nothing_does_not_look_like_a_restore(page: Page, site: Site) -> None:
    tried = ended(site, "2025-01-04", dry_run=True)
    page.goto(site.url)
    table = page.get_by_role("table", name="Ended, newest first")
    row = table.get_by_role("row", name=re.compile("2025-01-04"))
    expect(row).to_contain_text("dry run")
    expect(row).to_contain_text("Nothing was written.")
    expect(row.locator("[data-name=rows]")).to_be_empty()
    expect(table.get_by_role("row", name=re.compile("2025-01-02"))).to_contain_text("done")
    main, region = page.get_by_role("main"), page.get_by_role("region", name="The dry run")
    page.goto(f"{site.url}#/restores/{tried}")
    expect(region).to_contain_text("nothing was found that would end the restore")
    expect(region).to_contain_text("Not checked, or not wholly: values")
    expect(main).to_contain_text("Rows in the archive")
    expect(main).not_to_contain_text("loaded of")
    page.goto(f"{site.url}#/restores/{ended(site, '2025-01-01', dry_run=True)}")
    expect(region).to_contain_text("the restore would fail")
    expect(region).to_contain_text("WindowNotEmpty: ")
    page.goto(f"{site.url}#/restores/{ended(site, '2025-01-01', destination={'on_existing': 'skip'})}")
    expect(main).to_contain_text("none loaded: the day has rows, and stays as it is")
    expect(page.get_by_role("heading", name=re.compile("2025-01-01"))).to_contain_text("skipped")


def test_a_cancel_that_was_taken_is_shown_until_it_has_ended(page: Page, site: Site) -> None:
    with site.table_held():
        found = site.post("2025-01-03")
        assert wait_until(lambda: site.status(found) == "Running", 60)
        change_answers(page, f"/api/restores/{found}", lambda one: one.update(canceling=True))
        page.goto(f"{site.url}#/restores/{found}")
        expect(page.get_by_role("heading", name=re.compile("2025-01-03"))).to_contain_text("being canceled")
        expect(page.get_by_role("button", name=re.compile("Cancel"))).to_be_disabled()


def test_what_is_tried_again_by_itself_asks_for_nothing(page: Page, site: Site) -> None:
    failed = site.ids["2025-01-05"]
    due = {"status": "NotStarted", "ended": None, "next_attempt": "2026-01-01T02:03:04Z"}
    change_answers(page, f"/api/restores/{failed}", lambda one: one.update(due))
    page.goto(f"{site.url}#/restores/{failed}")
    region = page.get_by_role("region", name="The last attempt failed")
    expect(region).to_contain_text("What to do: nothing: it is tried again by itself at 2026-01-01 02:03:04Z.")


def test_a_restore_that_failed_says_where_the_log_has_it(page: Page, site: Site) -> None:
    failed = site.ids["2025-01-05"]
    change_answers(page, f"/api/restores/{failed}", lambda one: one.update(request_id="r-1"))
    page.goto(f"{site.url}#/restores/{failed}")
    expect(page.get_by_role("main")).to_contain_text("request_id, for the logr-1")


def test_lists_say_which_database_and_what_they_leave_out(page: Page, site: Site) -> None:
    page.goto(site.url)
    row = page.get_by_role("table", name="Ended, newest first").get_by_role("row", name=re.compile("2025-01-01"))
    expect(row).to_contain_text(site.app.database.name)
    expect(page.get_by_role("main")).to_contain_text("Restores by a call that waits, without the queue, are not listed")


def test_a_day_names_the_call_that_restored_it(page: Page, site: Site) -> None:
    body = {"adls_url": site.app.storage.url(site.app.path("telemetry", "2025-01-03"))}
    reply = site.host.ask("POST", "/api/restore", json.dumps(body).encode(), {"content-type": "application/json"})
    assert reply.status == 200, reply.body
    page.goto(f"{site.url}#/days?adls_url={site.pattern}&year=2025")
    page.get_by_role("button", name="2025-01-03: restored").click()
    found = json.loads(reply.body)["request_id"]
    expect(page.get_by_role("main")).to_contain_text(f"the log has it under request_id {found}")


def test_a_plan_counts_only_the_days_that_it_would_restore(page: Page, site: Site) -> None:
    """Days 1 to 4: two that have rows, and two that are archived."""
    page.goto(f"{site.url}#/days?adls_url={site.pattern}&year=2025")
    page.get_by_role("button", name="2025-01-01: restored").click()
    page.get_by_role("button", name="2025-01-04: archived").click()
    main = page.get_by_role("main")
    page.get_by_role("button", name="Show the plan").click()
    expect(main).to_contain_text("To be restored2 days,")
    page.get_by_label("Days that have rows").select_option("replace")
    page.get_by_role("button", name="Show the plan").click()
    expect(main).to_contain_text("To be restored4 days,")
    page.get_by_role("button", name="Start the backfill").click()
    expect(page.get_by_role("dialog")).to_contain_text("Replace 2 days?")
    page.get_by_role("button", name="No", exact=True).click()
    expect(main).to_contain_text("Start the backfill")


def test_sizes_are_those_of_the_command_line(page: Page, site: Site) -> None:
    page.goto(site.url)
    expect(page.get_by_role("link", name=re.compile("2025-01-01"))).to_be_visible()
    sizes = [0, 1023, 1024, 2177822, 1024**3, 5 * 1024**4]
    shown = page.evaluate("(sizes) => sizes.map(bytes)", sizes)
    assert shown == ["0 B", "1023 B", "1.0 KiB", "2.1 MiB", "1.0 GiB", "5.0 TiB"]


def test_a_view_that_does_not_exist_is_said_so(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/nonsense")
    expect(page.get_by_role("heading", name="There is no such view")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Days").click()
    expect(page.get_by_role("heading", name="Days of a table")).to_be_visible()
