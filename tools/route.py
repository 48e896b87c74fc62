"""Route templates of function.json, as ASP.NET Core reads them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

# https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints; the ones that restate a pattern.
_CONSTRAINTS = {
    "": r"[^/]+",
    "int": r"-?[0-9]+",
    "long": r"-?[0-9]+",
    "alpha": r"[A-Za-z]+",
    "guid": r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}
_PARAMETER = re.compile(r"\{(\*{0,2})([A-Za-z_]\w*)(?::(\w+))?(\?)?\}")


class RouteError(ValueError):
    """A template that this module cannot read."""


class Route:
    """Path and methods that one function answers to.

    Args:
        template: path below the host's root, `api/days/{day}`; parameters as `{name}`, `{name:int}`, `{name?}` and,
            at the end, `{*rest}`.
        methods: HTTP methods, in any case; all of them where None or empty.

    Raises:
        RouteError: the template holds something else.
    """

    def __init__(self, template: str, methods: Sequence[str] | None = None) -> None:
        self.template = template
        self.methods = frozenset(method.upper() for method in methods or ())
        self._pattern = re.compile(
            "".join(_segment(part, template) for part in template.split("/")) + "/?", re.IGNORECASE
        )

    @property
    def methods_text(self) -> str:
        """The methods for a person."""
        return ",".join(sorted(self.methods)) or "any"

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the route parameters where method and path are this route's, or None.

        Args:
            method: HTTP method in upper case.
            path: the request's path, percent-decoded; compared without regard to case, as ASP.NET does.
        """
        if self.methods and method not in self.methods:
            return None
        found = self._pattern.fullmatch(path)
        # An optional parameter that was left out is not among the parameters.
        return found and {name: value for name, value in found.groupdict().items() if value}


def _segment(part: str, template: str) -> str:
    parameter = _PARAMETER.fullmatch(part)
    if parameter is None:
        if "{" in part or "}" in part:
            raise RouteError(f"the route {template} holds {part}, which this host does not know")
        return "/" + re.escape(part)
    stars, name, constraint, optional = parameter.groups()
    if stars:
        return f"(?:/(?P<{name}>.*))?"
    if (constraint or "") not in _CONSTRAINTS:
        raise RouteError(f"the route {template} has the constraint {constraint}, which this host does not know")
    segment = f"/(?P<{name}>{_CONSTRAINTS[constraint or '']})"
    return f"(?:{segment})?" if optional else segment
