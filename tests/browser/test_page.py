"""The page, in a real browser: what it shows, by mouse and by keyboard, and what it lets nobody do."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks import many
from shared.jobs.keys import row_of
from shared.jobs.operation import ENDED, RestoreOperation
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.settings import load_settings
from tests.browser.fix_page import Site, violations
from tests.browser.fix_picture import FOLDER, noted, take, what_is_shown
from tests.integration.fix_attempts import record_three_attempts
from tests.integration.fix_cli import put_into_path
from tools.process import wait_until

SCREENS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 360)]


# Nothing stands before the middle of an element.
IS_IN_FRONT = """(one) => {
  const box = one.getBoundingClientRect();
  return one.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2));
}"""


def open_days(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/days")
    page.get_by_label("Archives").fill(site.pattern)
    page.get_by_label("Year").fill("2025")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="Days of 2025").wait_for()


def open_restores(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("heading", name="Ended, newest first").wait_for()


def open_running(page: Page, site: Site) -> None:
    open_restores(page, site)
    page.get_by_role("table", name="Waiting and running").wait_for()


def open_restore(page: Page, site: Site, day: str) -> None:
    page.goto(f"{site.url}#/restores/{site.ids[day]}")
    page.get_by_role("heading", name=re.compile(day)).wait_for()


def open_chosen_day(page: Page, site: Site) -> None:
    open_days(page, site)
    chosen = page.get_by_role("button", name="2025-01-04: archived")
    chosen.click()
    page.get_by_role("heading", name="Restore these days").wait_for()
    assert chosen.evaluate(IS_IN_FRONT)


def open_plan(page: Page, site: Site) -> None:
    open_chosen_day(page, site)
    page.get_by_role("button", name="2025-01-08: missing").click()
    before = page.evaluate("scrollY")
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("heading", name="The plan").wait_for()
    # The days stay where they are.
    assert page.evaluate("scrollY") == before


def open_tables(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/days")
    page.get_by_role("heading", name="Restored lately").wait_for()


def open_backfills(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/backfills")
    page.get_by_role("table", name="Backfills").wait_for()


def open_backfill(page: Page, site: Site, name: str) -> None:
    page.goto(f"{site.url}#/backfills/{site.ids[name]}")
    # A question is gone with the view that it is about.
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("heading", name=re.compile("^Days ")).wait_for()


def open_question(page: Page, site: Site) -> None:
    open_restore(page, site, "2025-01-12")
    page.get_by_role("button", name=re.compile("Cancel")).click()
    page.get_by_role("dialog").wait_for()


def open_key(page: Page, site: Site) -> None:
    with page.expect_response("**/api/restores?*") as refused:
        page.route("**/api/restores?*", lambda route: route.fulfill(status=401, body=""), times=1)
        page.goto(site.url)
    assert refused.value.status == 401
    page.get_by_role("region", name="A key is needed").wait_for()
    expect(page.get_by_role("main")).to_be_empty()


def open_unknown(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/restores/unknown")
    page.get_by_role("region", name="The function app refused this").wait_for()
    # What asked for a key before it has been answered.
    expect(page.get_by_role("region", name="A key is needed")).to_be_hidden()


def with_fine_names(text: str, site: Site) -> str:
    """Return a text with names as people have them, for a picture."""
    names = {
        site.app.database.schema: "silver",
        site.app.database.name: "weavix",
        site.app.storage.filesystem: "archive",
        str(site.app.storage.service.account_name): "account",
    }
    for name, fine in names.items():
        text = text.replace(name, fine)
    return text


def answer_with_fine_names(route: Route, site: Site) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=with_fine_names(answer.text(), site))


VIEWS: dict[str, Callable[[Page, Site], None]] = {
    "restores": open_restores,
    "done": partial(open_restore, day="2025-01-01"),
    "failed": partial(open_restore, day="2025-01-05"),
    "tables": open_tables,
    "days": open_chosen_day,
    "plan": open_plan,
    "backfills": open_backfills,
    "backfill": partial(open_backfill, name="ended"),
    "key": open_key,
    "unknown": open_unknown,
}
# While something runs.
RUNNING: dict[str, Callable[[Page, Site], None]] = {
    "running": open_running,
    "restore-running": partial(open_restore, day="2025-01-12"),
    "cancel": open_question,
    "backfill-running": partial(open_backfill, name="running"),
}
PICTURES = {(name, "light", 1280): f"{name}.png" for name in (*VIEWS, *RUNNING)}
PICTURES |= {("days", "dark", 1280): "days-dark.png", ("running", "light", 360): "running-narrow.png"}
# All that the Tab key is to reach, but for the days of the calendar: among these the arrow keys move.
TO_REACH = "main :is(a, button:enabled, input, select, pre[tabindex], summary):not([tabindex='-1'])"


def check_view(page: Page, name: str, scheme: str, width: int) -> None:
    assert violations(page) == [], name
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    picture = PICTURES.get((name, scheme, width))
    if picture is None:
        return
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        take(page, Path(folder, picture))
    else:
        # With SCREENSHOTS=docs/page, this test takes the pictures anew.
        assert what_is_shown(page) == noted(FOLDER / picture), f"{picture} shows another page than the current one"


def hold_days(site: Site) -> None:
    """Start a restore and a backfill of a table that is held, and wait until they wait for it."""
    site.ids["2025-01-12"] = site.post("2025-01-12")
    site.ids["running"] = site.backfill("2025-01-13", "2025-01-15")

    def stages() -> list[str]:
        shown = json.loads(site.host.ask("GET", "/api/restores?status=Running").body)["value"]
        return [one["progress"]["stage"] for one in shown]

    assert wait_until(lambda: stages() == ["inspect"] * 3, 60), stages()


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_each_view_is_for_everybody(browser: Browser, site: Site, scheme: Any, width: int) -> None:
    """No violations of axe-core's rules, nothing wider than the screen; the pictures in docs/ are of this page.

    SCREENSHOTS names a folder in which they are taken anew.
    """
    site.ids["ended"] = site.ended_backfill("2025-01-05", "2025-01-10")
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.route(re.compile("/api/(restores|days|backfills)"), lambda route: answer_with_fine_names(route, site))
        for name, open_view in VIEWS.items():
            open_view(page, site)
            if name in {"days", "plan"}:
                typed = page.get_by_label("Archives")
                typed.evaluate("(one, text) => { one.value = text; }", with_fine_names(site.pattern, site))
            check_view(page, name, scheme, width)
        with site.table_held():
            hold_days(site)
            for name, open_view in RUNNING.items():
                open_view(page, site)
                check_view(page, name, scheme, width)
        page.unroute_all(behavior="ignoreErrors")
        assert wait_until(lambda: site.status(site.ids["running"], "backfills") in ENDED, 60)


def test_the_tab_key_reaches_everything_in_each_view(page: Page, site: Site) -> None:
    site.ids["ended"] = site.ended_backfill("2025-01-05", "2025-01-06")
    for view, open_view in VIEWS.items():
        open_view(page, site)
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        left = set(range(page.locator(TO_REACH).count()))
        assert left or view in {"key", "unknown"}
        page.locator("main").focus()
        for _ in range(2 * len(left) + 20):
            page.keyboard.press("Tab")
            # Which of them has the focus, and shows it.
            left.discard(
                page.evaluate(
                    """(wanted) => {
                      const now = document.activeElement;
                      const isShown = getComputedStyle(now).outlineStyle !== "none";
                      return isShown ? [...document.querySelectorAll(wanted)].indexOf(now) : -1;
                    }""",
                    TO_REACH,
                )
            )
            if not left:
                break
        assert left == set(), view


def test_what_happened_is_in_the_list(page: Page, site: Site) -> None:
    page.goto(site.url)
    table = page.get_by_role("table", name="Ended, newest first")
    row = table.get_by_role("row", name=re.compile("2025-01-05"))
    expect(row).to_contain_text("failed")
    expect(row).to_contain_text("DataRejected")
    expect(table.get_by_role("row", name=re.compile("2025-01-01"))).to_contain_text("done")
    page.get_by_label("Status").select_option("Succeeded")
    page.get_by_role("button", name="Filter").click()
    expect(table.get_by_role("row")).to_have_count(3)
    row.wait_for(state="detached")


def test_a_restore_that_failed_says_what_to_do_and_how_to_repeat_it(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("link", name=re.compile("2025-01-05")).click()
    region = page.get_by_role("region", name="It failed")
    expect(region).to_contain_text("DataRejected")
    expect(region).to_contain_text("What to do:")
    expect(region).to_contain_text("Details: sqlstate 22P02, line 2, column v")
    expect(page.get_by_role("main")).to_contain_text("curl --silent --show-error --request POST")
    expect(page.get_by_role("main")).to_contain_text("restorectl restore 'abfss://")


def test_of_many_details_the_first_are_shown_and_the_rest_are_counted(page: Page, site: Site) -> None:
    rights = [{"code": "x", "message": f"lacks {n}", "target": f"t{n}", "right": "SELECT"} for n in range(25)]

    def add(route: Route) -> None:
        answer = route.fetch()
        known = answer.json()
        known["error"]["details"] = [*rights, {"code": "x", "message": known["error"]["message"], "target": None}]
        route.fulfill(response=answer, json=known)

    page.route("**/api/restores/*", add)
    page.goto(f"{site.url}#/restores/{site.ids['2025-01-05']}")
    items = page.get_by_role("region", name="It failed").get_by_role("listitem")
    expect(items).to_have_count(21)
    expect(items.first).to_have_text("t0: lacks 0; right SELECT")
    expect(items.last).to_have_text("and 5 more")


def run_in_shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"PATH": put_into_path(folder)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_that_repeats_a_replacement_asks_nobody(page: Page, site: Site, tmp_path: Path) -> None:
    """A shell runs what the page shows, as it is."""
    ready = {"on_existing": "replace", "min_rows_ratio": 0.5}
    first = site.post("2025-01-02", destination=ready)
    assert wait_until(lambda: site.status(first) == "Succeeded", 40)
    page.goto(f"{site.url}#/restores/{first}")
    shown = page.locator("pre", has_text="restorectl restore").text_content()
    assert shown is not None
    done = run_in_shell(shown, tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(site.host.ask("GET", "/api/restores?day=2025-01-02&top=1").body)["value"][0]
    assert answer["id"] != first
    one = json.loads(site.host.ask("GET", f"/api/restores/{answer['id']}").body)
    assert one["request"]["destination"] == ready


def test_a_name_like_an_option_is_not_an_option_in_the_command(page: Page, site: Site, tmp_path: Path) -> None:
    """The app refuses the name; restorectl would show its help."""

    def rename(route: Route) -> None:
        answer = route.fetch()
        known = answer.json()
        known["request"]["adls_url"] = "--help"
        route.fulfill(response=answer, json=known)

    page.route("**/api/restores/*", rename)
    page.goto(f"{site.url}#/restores/{site.ids['2025-01-01']}")
    shown = page.locator("pre", has_text="restorectl restore").text_content()
    assert shown is not None
    done = run_in_shell(shown, tmp_path)
    assert done.stdout == ""
    assert done.returncode == 1
    assert "adls_url" in done.stderr


def test_a_restore_leads_to_the_days_of_its_table(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/restores/{site.ids['2025-01-05']}")
    page.get_by_role("link", name="Days of this table").click()
    expect(page.get_by_label("Archives")).to_have_value(site.pattern)
    page.get_by_role("button", name="2025-01-05: failed").click()
    choice = page.get_by_role("region", name=re.compile("2025-01-05"))
    expect(choice).to_be_in_viewport()
    expect(choice).to_contain_text("DataRejected")
    # One of the last month: what was chosen is in sight there as well.
    page.get_by_role("button", name="2025-12-30: missing").click()
    expect(page.get_by_role("button", name="Show the plan")).to_be_in_viewport()


def hold(page: Page, url: str) -> list[Route]:
    """Keep requests without an answer, and return them as they come."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(url, keep)
    return held


def test_an_answer_that_comes_late_is_not_shown_over_another_view(page: Page, site: Site) -> None:
    held = hold(page, "**/api/restores?*")
    page.goto(site.url)
    page.get_by_text("Loading").wait_for()
    page.get_by_role("link", name="Backfills").click()
    page.get_by_role("heading", name="Backfills").wait_for()
    with page.expect_response("**/api/restores?*"):
        held[0].fulfill(json={"value": [], "nextLink": None})
    page.wait_for_timeout(300)
    expect(page.get_by_role("heading", name="Backfills")).to_be_visible()
    expect(page.get_by_role("heading", name="Restores")).to_have_count(0)


def test_the_months_are_there_before_their_days_are_known(page: Page, site: Site) -> None:
    held = hold(page, "**/api/days?*")
    page.goto(f"{site.url}#/days?adls_url={quote(site.pattern)}&year=2025")
    page.get_by_role("button", name="2025-01-04: not known yet").click()
    expect(page.get_by_label("Archives")).to_have_value(site.pattern)
    held[0].continue_()
    expect(page.get_by_role("button", name="2025-01-04: archived")).to_be_visible()


def test_where_the_seconds_went(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/restores/{site.ids['2025-01-01']}")
    table = page.get_by_role("table", name=re.compile("Where the .* went"))
    expect(table.get_by_role("row", name=re.compile("^copy"))).to_be_visible()
    assert page.locator("svg.stages rect").count() == table.get_by_role("row").count() - 1


def test_one_that_runs_is_canceled_by_keyboard_alone(page: Page, site: Site) -> None:
    with site.table_held():
        running = site.post("2025-01-09")
        assert wait_until(lambda: site.status(running) == "Running", 20)
        page.goto(site.url)
        button = page.get_by_role("button", name=re.compile("Cancel .* 2025-01-09"))
        button.wait_for()
        for _ in range(20):
            page.keyboard.press("Tab")
            if button.evaluate("element => element === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.get_by_role("button", name="No")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert wait_until(lambda: site.status(running) == "Canceled", 30)
    row = page.get_by_role("row", name=re.compile("2025-01-09"))
    expect(row).to_contain_text("canceled", timeout=15_000)


def test_a_backfill_that_is_stopped_ends_the_days_that_run_and_starts_no_other(page: Page, site: Site) -> None:
    counts = page.get_by_role("list", name="How many days")
    with site.table_held():
        running = site.backfill("2025-01-10", "2025-01-12")
        page.goto(f"{site.url}#/backfills/{running}")
        expect(counts).to_contain_text("running 2", timeout=30_000)
        expect(counts).to_contain_text("waiting 1")
        page.get_by_role("button", name="Start no further day").click()
        expect(page.get_by_role("button", name="Start no further day")).to_be_disabled()
        expect(page.get_by_role("main")).to_contain_text("no further day starts")
    heading = page.get_by_role("heading", name=re.compile("telemetry"))
    expect(heading).to_contain_text("canceled", timeout=60_000)
    expect(counts).to_contain_text("restored 2")
    expect(counts).to_contain_text("canceled 1")
    expect(page.get_by_role("button", name="Start no further day")).to_have_count(0)


def test_a_backfill_that_is_canceled_rolls_back_the_days_that_run(page: Page, site: Site) -> None:
    counts = page.get_by_role("list", name="How many days")
    with site.table_held():
        running = site.backfill("2025-01-10", "2025-01-12")
        page.goto(f"{site.url}#/backfills/{running}")
        expect(counts).to_contain_text("running 2", timeout=30_000)
        cancel = page.get_by_role("button", name=re.compile("^Cancel"))
        cancel.click()
        expect(page.get_by_role("dialog")).to_contain_text("Days that run now are rolled back")
        page.get_by_role("button", name="No", exact=True).click()
        assert site.status(running, "backfills") == "Running"
        cancel.click()
        page.get_by_role("button", name="Yes").click()
        assert wait_until(lambda: site.status(running, "backfills") == "Canceled", 60)
    expect(page.get_by_role("heading", name=re.compile("telemetry"))).to_contain_text("canceled", timeout=20_000)
    expect(counts).to_have_text(re.compile("^\\W*canceled 3$"))


def test_a_row_says_how_far_a_restore_is(page: Page, site: Site) -> None:
    one = many.ended_restore("halfway", date(2025, 1, 9), site.pattern, "weavix", "silver.telemetry")
    one = replace(one, ended="", attempt=3, stage="copy", rows=1_234_567, seconds=75.4, compressed_bytes=500_000)
    again = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    running_one = replace(one, status="Running", claim="a worker's")
    waiting = replace(one, id="again", day="2025-01-10", row_key=row_of("again"), status="NotStarted")
    store = OperationStore(job_storage(load_settings()), RestoreOperation)
    store.create_all([running_one, replace(waiting, next_attempt=again, is_queued=True)])
    page.goto(site.url)
    table = page.get_by_role("table", name="Waiting and running")
    running = table.get_by_role("row", name=re.compile("2025-01-09"))
    heartbeat = json.loads(site.host.ask("GET", "/api/restores/halfway").body)["heartbeat"]
    cells = ["▶ runs", " copy, 25 % read", "1,234,567", "1 min 15 s", f"{heartbeat[11:19]}Z"]
    expect(running.get_by_role("cell")).to_have_text([*cells, "3", "Cancel"])
    expect(running.get_by_role("progressbar")).to_have_attribute("value", "25")
    loading = replace(running_one, id="loading", row_key=row_of("loading"), day="2025-01-11")
    store.create_all([replace(loading, csv_bytes=3_000, csv_bytes_total=4_000)])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    loads = table.get_by_role("row", name=re.compile("2025-01-11"))
    expect(loads.get_by_role("cell").nth(1)).to_have_text(" copy, 75 % loaded")
    waits = table.get_by_role("row", name=re.compile("2025-01-10"))
    expect(waits.get_by_role("cell").nth(0)).to_contain_text("waits")
    expect(waits.get_by_role("cell").nth(1)).to_contain_text(f"again at {again[:19].replace('T', ' ')}Z")


def test_no_leaves_it_running(page: Page, site: Site) -> None:
    with site.table_held():
        running = site.post("2025-01-09")
        page.goto(f"{site.url}#/restores/{running}")
        page.get_by_role("button", name=re.compile("Cancel")).click()
        page.get_by_role("button", name="No").click()
        assert site.status(running) in {"NotStarted", "Running"}
    assert wait_until(lambda: site.status(running) == "Succeeded", 40)
    expect(page.get_by_role("heading", name=re.compile("2025-01-09"))).to_contain_text("done", timeout=15_000)


def test_the_days_by_the_arrow_keys(page: Page, site: Site) -> None:
    open_days(page, site)
    for day, state in (("01", "restored"), ("04", "archived"), ("05", "failed"), ("08", "missing")):
        expect(page.get_by_role("button", name=f"2025-01-{day}: {state}")).to_be_visible()
    page.get_by_role("button", name="2025-01-01: restored").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name="2025-01-04: archived")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_label("From")).to_have_value("2025-01-04")
    expect(page.get_by_label("To, included")).to_have_value("2025-01-06")
    expect(page.locator("[aria-pressed=true]")).to_have_count(3)


def test_a_range_of_days_is_planned_restored_and_retried(page: Page, site: Site) -> None:
    """Days 4 to 8: one archived, one that fails, one archived, and two that are missing."""
    open_days(page, site)
    page.get_by_role("button", name="2025-01-04: archived").click()
    page.get_by_role("button", name="2025-01-08: missing").click()
    page.get_by_role("button", name="Show the plan").click()
    main = page.get_by_role("main")
    expect(main).to_contain_text("3 days,")
    expect(main).to_contain_text("2025-01-07, 2025-01-08")
    page.get_by_role("button", name="Start the backfill").click()
    counts = page.get_by_role("list", name="How many days")
    page.get_by_role("link", name="All backfills").wait_for()
    expect(page.get_by_role("region", name="It failed")).to_contain_text("Details: 2025-01-05: line 2", timeout=60_000)
    for count in ("restored 2", "failed 1", "missing 2"):
        expect(counts).to_contain_text(count, timeout=60_000)
    expect(page.get_by_role("heading", name=re.compile("telemetry"))).to_contain_text("failed", timeout=30_000)
    expect(page.get_by_role("row", name=re.compile("2025-01-05"))).to_contain_text("DataRejected")
    assert violations(page) == []
    site.app.archive("telemetry", b"time,v\n2025-01-05 01:00Z,5\n", day="2025-01-05")
    page.get_by_role("button", name=re.compile("Retry")).click()
    expect(counts).to_contain_text("restored 3", timeout=60_000)
    expect(page.get_by_role("heading", name=re.compile("telemetry"))).to_contain_text("done", timeout=30_000)
    page.get_by_role("link", name="Backfills", exact=True).click()
    expect(page.get_by_role("table", name="Backfills")).to_contain_text("done")
    assert violations(page) == []


def test_the_key_leaves_the_address_and_goes_into_a_header(page: Page, site: Site) -> None:
    sent: list[str | None] = []
    page.on("request", lambda one: sent.append(one.headers.get("x-functions-key")) if "/restores" in one.url else None)
    page.goto(f"{site.url}?code=k%2Bey%3D%3D#/restores")
    page.get_by_role("table", name="Ended, newest first").wait_for()
    assert page.url == f"{site.url}#/restores"
    assert sent == ["k+ey=="]
    assert "k+ey" not in page.content()
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    page.get_by_role("table", name="Ended, newest first").wait_for()
    assert sent == ["k+ey=="] * 2
    page.get_by_role("button", name="Forget the key").click()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_that_is_refused_is_asked_for_again(page: Page, site: Site) -> None:
    def gate(route: Route) -> None:
        if route.request.headers.get("x-functions-key") == "right":
            route.continue_()
        else:
            route.fulfill(status=401, body="")

    page.route("**/api/restores*", gate)
    page.goto(site.url)
    region = page.get_by_role("region", name="A key is needed")
    expect(region).to_contain_text("asks for a key (HTTP 401)")
    for key, then in (("wrong", "use a host key"), ("right", None)):
        page.get_by_label("Host key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        if then:
            expect(region).to_contain_text(then)
    page.get_by_role("table", name="Ended, newest first").wait_for()
    expect(region).to_be_hidden()


@pytest.mark.parametrize("how", ["abort", "502"])
def test_the_api_is_unreachable_for_a_while(page: Page, site: Site, how: str) -> None:
    """The old figures stay, and the page says of when they are."""
    page.goto(site.url)
    table = page.get_by_role("table", name="Ended, newest first")
    table.wait_for()
    away = (lambda route: route.abort()) if how == "abort" else (lambda route: route.fulfill(status=502, body="<html>"))
    page.route("**/api/restores*", away)
    # It looks again at once when the person comes back to the tab.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("status")).to_contain_text(re.compile("does not answer; these figures are of .*Z"))
    expect(table).to_be_visible()
    page.unroute("**/api/restores*")
    expect(page.get_by_role("status")).to_contain_text("As of")


def test_it_does_not_ask_while_nobody_looks(page: Page, site: Site) -> None:
    page.add_init_script("Object.defineProperty(document, 'visibilityState', {get: () => window.seen ?? 'visible'})")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/restores" in request.url else None)
    page.clock.install()
    page.goto(site.url)
    page.get_by_role("table", name="Ended, newest first").wait_for()
    page.evaluate("window.seen = 'hidden'; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(600_000)
    assert len(asked) == 1
    page.evaluate("window.seen = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(100)
    page.wait_for_load_state("networkidle")
    assert len(asked) == 2


def test_the_answer_says_when_to_look_again(page: Page, site: Site) -> None:
    """Retry-After, of one that runs and of an error."""
    asked: list[str] = []

    def later(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            answer = route.fetch()
            known = answer.json() | {"status": "Running", "ended": None}
            route.fulfill(json=known, headers={"retry-after": "17", "content-type": "application/json"})
        else:
            error = {"code": "JobStorageUnreachable", "message": "no answer", "details": []}
            route.fulfill(status=503, json={"error": error}, headers={"retry-after": "40"})

    page.route("**/api/restores/*", later)
    page.clock.install()
    page.goto(f"{site.url}#/restores/{site.ids['2025-01-01']}")
    page.get_by_role("button", name=re.compile("^Cancel")).wait_for()
    page.clock.run_for(16_000)
    assert len(asked) == 1
    page.clock.run_for(2_000)
    expect(page.get_by_role("region", name="The function app refused this")).to_contain_text("JobStorageUnreachable")
    assert len(asked) == 2
    page.clock.run_for(38_000)
    assert len(asked) == 2
    page.clock.run_for(3_000)
    page.wait_for_load_state("networkidle")
    assert len(asked) == 3


HOSTILE = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>\u202e"


def test_hostile_texts_are_texts(page: Page, site: Site) -> None:
    """In names, messages and answers, wherever the API's texts stand."""

    def poisoned(value: Any, kept: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {name: item if name in kept else poisoned(item, kept) for name, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item, kept) for item in value]
        return value + long if isinstance(value, str) and not value.startswith(("http", "Succ", "Fail")) else value

    long = HOSTILE + "n" * 126
    backfill = site.ended_backfill("2025-01-04", "2025-01-05")
    page.set_viewport_size({"width": 360, "height": 800})
    views: list[str] = []

    def seen() -> None:
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hit") is None
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        views.append(page.get_by_role("main").text_content() or "")

    def poison(route: Route) -> None:
        answer = route.fetch()
        # A day of the calendar that is no date has no place there.
        kept = ("id", "day") if "/api/days" in route.request.url else ("id",)
        route.fulfill(response=answer, body=json.dumps(poisoned(answer.json(), kept)))

    page.route(re.compile("/api/(restores|days|backfills)"), poison)
    for view in ("backfills", f"backfills/{backfill}", f"days?adls_url={quote(site.pattern)}&year=2025"):
        page.goto(f"{site.url}#/{view}")
        expect(page.get_by_role("main")).to_contain_text("<script>")
        seen()
    page.goto(f"{site.url}#/restores")
    page.get_by_role("table", name="Ended, newest first").wait_for()
    seen()
    page.locator(f"a[href$='{site.ids['2025-01-05']}']").click()
    expect(page.get_by_role("region", name="It failed")).to_contain_text("<script>")
    seen()
    page.goto(f"{site.url}#/days?adls_url={HOSTILE}&year=2025")
    page.goto(f"{site.url}#/restores?table={HOSTILE}&status={HOSTILE}")
    page.goto(f"{site.url}#/{HOSTILE}/{HOSTILE}")
    page.get_by_role("main").wait_for()
    seen()
    assert len(views) == 6


def test_the_policy_lets_nothing_in(site: Site) -> None:
    reply = site.host.ask("GET", "/api/ui")
    assert reply.status == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"(?:src|href)=\"?https?:", reply.body.decode())


def archived_days(route: Route) -> list[dict[str, Any]]:
    """Return the days that were asked for, as an app answers whose every day is archived."""
    asked = parse_qs(urlsplit(route.request.url).query)
    (first,), (last,) = asked["from"], asked["to"]
    archive = {"bytes": 2_000_000, "modified": "2026-01-01T00:00:00Z", "etag": "0x1", "tier": "Hot"}
    known = {"state": "archived", "archive": archive, "table": {"rows": "no", "count": None}, "last_restore": None}
    return [{"day": f"{day}"} | known for day in many.days() if first <= f"{day}" <= last]


def test_a_thousand_restores_and_ten_years_of_days(page: Page, site: Site) -> None:
    """A look at a thousand rows builds none of those again that are the same. `make bench-page` measures it."""
    store = OperationStore(job_storage(load_settings()), RestoreOperation)
    many.record_restores(store, site.pattern, "weavix", "silver.telemetry")
    page.goto(f"{site.url}#/restores?table=silver.telemetry")
    rows = page.get_by_role("table", name="Ended, newest first").locator("tbody tr")
    for number in range(100, many.RESTORES, 100):
        expect(rows).to_have_count(number)
        page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(many.RESTORES)
    # By its address: a new row above moves it down by one.
    link = page.locator(f"a[href='{rows.nth(700).get_by_role('link').get_attribute('href')}']")
    link.focus()
    page.evaluate(
        """() => {
          window.changes = [];
          const note = (list) => window.changes.push(...list.map((one) => one.target.nodeName));
          const watched = new MutationObserver(note);
          watched.observe(document.querySelector("tbody"), {subtree: true, childList: true, attributes: true});
        }"""
    )
    with page.expect_response("**/api/restores?*"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)
    assert page.evaluate("window.changes") == []
    expect(link).to_be_focused()
    # A new one is one row more, and the others stay where they are.
    newest = f"{many.LAST_DAY}"
    fresh = many.ended_restore("many-new", many.LAST_DAY, site.pattern, "weavix", "silver.telemetry")
    store.create_all([fresh])
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(rows).to_have_count(many.RESTORES + 1)
    expect(rows.first).to_contain_text(newest)
    assert page.evaluate("window.changes") == ["TBODY"]
    expect(link).to_be_focused()
    page.route("**/api/days?*", lambda route: route.fulfill(json={"value": archived_days(route), "nextLink": None}))
    page.goto(f"{site.url}#/days?adls_url={quote(site.pattern)}&year={many.FIRST_DAY.year}")
    for year in range(many.FIRST_DAY.year, many.LAST_DAY.year + 1):
        page.get_by_role("heading", name=f"Days of {year}").wait_for()
        expect(page.locator(".day.archived")).to_have_count(366 if year % 4 == 0 else 365)
        if year < many.LAST_DAY.year:
            page.get_by_role("link", name=str(year + 1)).click()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.evaluate(
        """() => {
          const make = document.createElement.bind(document);
          window.made = [];
          document.createElement = (name) => { window.made.push(name); return make(name); };
        }"""
    )
    page.get_by_role("button", name=f"{many.LAST_DAY}: archived").click()
    expect(page.get_by_role("region", name="Restore these days")).to_be_in_viewport()
    assert asked == []
    # What was chosen is built, and no day.
    assert "form" in page.evaluate("window.made")
    assert "td" not in page.evaluate("window.made")


def test_the_attempts_that_failed_before_the_last_one(page: Page, site: Site) -> None:
    record_three_attempts("thrice", site.pattern, "weavix", "silver.telemetry")
    page.goto(f"{site.url}#/restores/thrice")
    rows = page.get_by_role("table", name="Attempts that failed").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text(re.compile("1.*connect.*DatabaseUnreachable"))
    expect(rows.nth(1)).to_contain_text(re.compile("2.*copy.*its worker was lost"))
    page.set_viewport_size({"width": 360, "height": 800})
    assert violations(page) == []
