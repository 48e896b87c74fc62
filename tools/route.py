"""Route templates of function.json, as ASP.NET Core reads them, for `werkzeug.routing`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule

_PARAMETER = re.compile(r"\{(?P<stars>\*{0,2})(?P<name>[A-Za-z_]\w*)(?::(?P<constraint>\w+))?(?P<optional>\?)?\}")

# The name of no parameter.
_FIXED = "__fixed_"


class RouteError(ValueError):
    """A template that this module cannot read."""


class _Fixed(BaseConverter):
    """Constant text. ASP.NET compares it without regard to case, Werkzeug's own rules with it."""

    weight = 50  # Before any parameter.

    def __init__(self, rules: Map, text: str) -> None:
        super().__init__(rules)
        self.regex = f"(?i:{re.escape(text)})"


def _converter(pattern: str, *, weight: int = 100) -> type[BaseConverter]:
    return type("_Converter", (BaseConverter,), {"regex": pattern, "weight": weight})


# https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints; the ones that restate a pattern.
# Werkzeug's own converters of these names return numbers; a route parameter is text.
_CONSTRAINTS = {
    "int": _converter(r"-?[0-9]+"),
    "long": _converter(r"-?[0-9]+"),
    "alpha": _converter(r"[A-Za-z]+"),
    "guid": _converter(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
}
_CONVERTERS = _CONSTRAINTS | {"fixed": _Fixed, "any": BaseConverter, "rest": _converter(r"[^/].*", weight=200)}


def make_rules(template: str, methods: Sequence[str] | None, endpoint: Any) -> Iterator[Rule]:
    """Yield Werkzeug's rules for one template; an optional parameter makes two of one.

    Args:
        template: path below the host's root, `api/days/{day}`; parameters as `{name}`, `{name:int}`, `{name?}` and,
            at the end, `{*rest}`.
        methods: HTTP methods, in any case; all of them where None or empty.
        endpoint: what a match returns.

    Raises:
        RouteError: the template holds something else.
    """
    paths = [""]
    for number, part in enumerate(template.split("/")):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            if re.search(r"""[{}<>"']""", part):
                raise RouteError(f"the route {template} holds {part}, which this host does not know")
            paths = [f'{path}/<fixed("{part}"):{_FIXED}{number}>' for path in paths]
            continue
        stars, name, constraint, optional = parameter.groups()
        if constraint is not None and constraint not in _CONSTRAINTS:
            raise RouteError(f"the route {template} has the constraint {constraint}, which this host does not know")
        kind = "rest" if stars else constraint or "any"
        longer = [f"{path}/<{kind}:{name}>" for path in paths]
        paths = [*paths, *longer] if stars or optional else longer
    for path in paths:
        rule = Rule(path, methods=methods or None, endpoint=endpoint)
        if rule.methods and "HEAD" not in map(str.upper, methods or ()):
            rule.methods.discard("HEAD")  # Werkzeug adds it to GET; the real host does not.
        yield rule


def make_map(rules: Sequence[Rule]) -> Map:
    """Return the table of all rules. As in ASP.NET, a slash at the end makes no difference."""
    return Map(rules, converters=_CONVERTERS, strict_slashes=False, merge_slashes=False)


def find(table: Map, method: str, path: str) -> tuple[Any, dict[str, str]] | None:
    """Return the endpoint that a request is for and its route parameters, or None.

    Args:
        table: of `make_map`.
        method: HTTP method in upper case.
        path: the request's path, percent-decoded.
    """
    try:
        endpoint, values = table.bind("").match(path, method)
    except HTTPException:
        return None
    return endpoint, {name: value for name, value in values.items() if not name.startswith(_FIXED)}
