from __future__ import annotations

import pytest

from tools.route import RouteError, find, make_map, make_rules


def match(template: str, method: str, path: str, methods: list[str] | None = None) -> dict[str, str] | None:
    found = find(make_map(list(make_rules(template, methods, "it"))), method, path)
    assert found is None or found[0] == "it"
    return found and found[1]


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("api/restore", "/api/restore", {}),
        ("api/restore", "/API/Restore/", {}),
        ("api/restore", "/api/restore/more", None),
        ("api/restore", "/api/restores", None),
        ("api/a.b", "/api/axb", None),
        ("api/days/{day}", "/api/days/2025-01-01", {"day": "2025-01-01"}),
        ("api/days/{day}", "/api/days/", None),
        ("api/days/{day}", "/api/days/a/b", None),
        ("api/{a}/{b?}", "/api/x", {"a": "x"}),
        ("api/{a}/{b?}", "/api/x/y", {"a": "x", "b": "y"}),
        ("api/{n:int}", "/api/-12", {"n": "-12"}),
        ("api/{n:int}", "/api/twelve", None),
        ("api/{*rest}", "/api/a/b/c", {"rest": "a/b/c"}),
        ("api/{*rest}", "/api", {}),
    ],
)
def test_paths(template: str, path: str, expected: dict[str, str] | None) -> None:
    assert match(template, "GET", path) == expected


def test_methods_are_compared_without_case() -> None:
    assert match("api/restore", "POST", "/api/restore", ["post"]) == {}
    assert match("api/restore", "GET", "/api/restore", ["post"]) is None


def test_get_does_not_bring_head_along() -> None:
    assert match("api/restore", "GET", "/api/restore", ["get"]) == {}
    assert match("api/restore", "HEAD", "/api/restore", ["get"]) is None


def test_constant_text_goes_before_a_parameter() -> None:
    rules = [*make_rules("api/{any}", None, "second"), *make_rules("api/restore", None, "first")]
    assert find(make_map(rules), "GET", "/api/Restore") == ("first", {})


@pytest.mark.parametrize("template", ["api/{day:regex}", "api/{day", "api/day-{day}", "api/{}"])
def test_a_template_that_is_not_understood_is_an_error(template: str) -> None:
    with pytest.raises(RouteError, match="api/"):
        list(make_rules(template, None, None))
