from __future__ import annotations

import pytest

from tools.route import Route, RouteError


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
    assert Route(template).match("GET", path) == expected


def test_methods_are_compared_without_case() -> None:
    route = Route("api/restore", ["post"])
    assert route.match("POST", "/api/restore") == {}
    assert route.match("GET", "/api/restore") is None


@pytest.mark.parametrize("template", ["api/{day:regex}", "api/{day", "api/day-{day}", "api/{}"])
def test_a_template_that_is_not_understood_is_an_error(template: str) -> None:
    with pytest.raises(RouteError, match="api/"):
        Route(template)
