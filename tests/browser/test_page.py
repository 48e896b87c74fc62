"""The page, in a real browser: what it shows, by mouse and by keyboard, and what it lets nobody do."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.fix_page import Site, violations
from tools.process import wait_until

SCREENS = [(scheme, width) for scheme in ("light", "dark") for width in (1280, 360)]


def open_days(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#/days")
    page.get_by_label("Archives").fill(site.pattern)
    page.get_by_label("Year").fill("2025")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name="Days of 2025").wait_for()


def open_view(page: Page, site: Site, view: str) -> None:
    if view == "days":
        open_days(page, site)
        page.get_by_role("button", name="2025-01-04: archived").click()
        page.get_by_role("heading", name="Restore these days").wait_for()
    elif view == "restores":
        page.goto(site.url)
        page.get_by_role("heading", name="Ended, the newest first").wait_for()
    else:
        page.goto(f"{site.url}#/restores/{site.ids[view]}")
        page.get_by_role("heading", name=re.compile(view)).wait_for()


def with_fine_names(route: Route, site: Site) -> None:
    """Show names as people have them, for a picture."""
    answer = route.fetch()
    names = {
        site.app.database.schema: "silver",
        site.app.database.name: "weavix",
        site.app.storage.filesystem: "archive",
    }
    text = answer.text()
    for name, fine in names.items():
        text = text.replace(name, fine)
    route.fulfill(response=answer, body=text.replace("devstoreaccount1", "account"))


VIEWS = {"restores": "restores", "done": "2025-01-01", "failed": "2025-01-05", "days": "days"}


@pytest.mark.parametrize(("scheme", "width"), SCREENS)
def test_each_view_is_for_everybody(browser: Browser, site: Site, scheme: Any, width: int) -> None:
    """No violations of axe-core's rules, nothing wider than the screen. SCREENSHOTS names a folder for pictures."""
    folder = os.environ.get("SCREENSHOTS")
    with browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        if folder:
            page.route(re.compile("/api/(restores|days)"), lambda route: with_fine_names(route, site))
        for name, view in VIEWS.items():
            open_view(page, site, view)
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if folder and (scheme, width) == SCREENS[0] and name != "done":
                page.screenshot(path=Path(folder, f"{name}.png"))


def test_what_happened_stands_in_the_list(page: Page, site: Site) -> None:
    page.goto(site.url)
    table = page.get_by_role("table", name="Ended, the newest first")
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
    expect(page.get_by_role("main")).to_contain_text("curl --silent --show-error --request POST")
    expect(page.get_by_role("main")).to_contain_text("restorectl restore 'abfss://")


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
    folder = os.environ.get("SCREENSHOTS")
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
    for count in ("restored 2", "failed 1", "missing 2"):
        expect(counts).to_contain_text(count, timeout=60_000)
    expect(page.get_by_role("heading", name=re.compile("telemetry"))).to_contain_text("failed", timeout=30_000)
    expect(page.get_by_role("row", name=re.compile("2025-01-05"))).to_contain_text("DataRejected")
    assert violations(page) == []
    if folder:
        page.route(re.compile("/api/backfills/"), lambda route: with_fine_names(route, site))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_role("main")).to_contain_text("silver.telemetry")
        page.screenshot(path=Path(folder, "backfill.png"))
        page.unroute_all()
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
    page.get_by_role("table", name="Ended, the newest first").wait_for()
    assert page.url == f"{site.url}#/restores"
    assert sent == ["k+ey=="]
    assert "k+ey" not in page.content()
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    page.get_by_role("table", name="Ended, the newest first").wait_for()
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
    page.get_by_role("table", name="Ended, the newest first").wait_for()
    expect(region).to_be_hidden()


@pytest.mark.parametrize("how", ["abort", "502"])
def test_the_api_is_away_for_a_while(page: Page, site: Site, how: str) -> None:
    """The old figures stay, and the page says of when they are."""
    page.goto(site.url)
    table = page.get_by_role("table", name="Ended, the newest first")
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
    page.get_by_role("table", name="Ended, the newest first").wait_for()
    page.evaluate("window.seen = 'hidden'; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(600_000)
    assert len(asked) == 1
    page.evaluate("window.seen = 'visible'; document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.run_for(100)
    page.wait_for_load_state("networkidle")
    assert len(asked) == 2


HOSTILE = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>\u202e"


def test_hostile_texts_are_texts(page: Page, site: Site) -> None:
    """In names, messages and answers, wherever the API's texts stand."""

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: item if name == "id" else poisoned(item) for name, item in value.items()}
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        return value + HOSTILE if isinstance(value, str) and not value.startswith(("http", "Succ", "Fail")) else value

    def poison(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(poisoned(answer.json())))

    page.route(re.compile("/api/(restores|days)"), poison)
    page.goto(site.url)
    page.get_by_role("link", name=re.compile("2025-01-05.*onerror")).click()
    expect(page.get_by_role("region", name="It failed")).to_contain_text("<script>")
    page.goto(f"{site.url}#/days?adls_url={HOSTILE}&year=2025")
    page.goto(f"{site.url}#/restores?table={HOSTILE}&status={HOSTILE}")
    page.goto(f"{site.url}#/{HOSTILE}/{HOSTILE}")
    page.get_by_role("main").wait_for()
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script").count() == 0


def test_the_policy_lets_nothing_in(site: Site) -> None:
    reply = site.host.ask("GET", "/api/ui")
    assert reply.status == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"(?:src|href)=\"?https?:", reply.body.decode())


def test_a_thousand_restores_are_shown_by_pages(page: Page, site: Site) -> None:
    """And a long list is made alike in place: what has the focus keeps it."""
    one = json.loads(site.host.ask("GET", "/api/restores").body)["value"][0]

    def many(route: Route) -> None:
        after = int(re.search(r"after=(\d+)", route.request.url + "&after=0")[1])  # type: ignore[index]
        value = [one | {"id": f"id{number}", "day": "2025-01-01"} for number in range(after, after + 100)]
        following = f"https://elsewhere.example/api/restores?top=100&after={after + 100}" if after < 900 else None
        route.fulfill(json={"value": value, "nextLink": following})

    page.route("**/api/restores?*", many)
    page.goto(site.url)
    rows = page.get_by_role("table", name="Ended, the newest first").get_by_role("row")
    for page_number in range(1, 10):
        expect(rows).to_have_count(100 * page_number + 1)
        page.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(1001)
    page.get_by_role("link").nth(700).focus()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.nodeName") == "A"
