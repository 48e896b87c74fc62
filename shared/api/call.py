"""An HTTP request as the host hands it over: its parameters, the address that its caller used, and pages of a list."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote

from shared.errors import Fault, InvalidRequest
from shared.settings import Settings

# Twice the longest name of a table: schema and table with 63 bytes each, in quotes.
LONGEST_PARAMETER = 512
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", re.ASCII)


def new_request_id() -> str:
    """Return an id of the server's own: an operator finds log lines and sessions of the database by it."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class HttpCall:
    """One HTTP request.

    Attributes:
        method: in upper case.
        url: the whole of it.
        headers: by name, in any case.
        query: parameters of the URL.
        route: parameters of the route.
        body: its bytes.
        request_id: of its answer.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route: Mapping[str, str]
    body: bytes
    request_id: str = field(default_factory=new_request_id)


def base_url(call: HttpCall, settings: Settings, route: str) -> str:
    """Return what links begin with: the address by which the caller reached the function, up to its route.

    App Service ends TLS in front of the function and says what the caller used in `X-Forwarded-Proto` and
    `X-Forwarded-Host` (a proxy in front of it adds the latter):
    https://learn.microsoft.com/azure/app-service/configure-language-python#detect-https-session

    Args:
        call: the request.
        settings: `PUBLIC_BASE_URL` wins.
        route: the path behind the base, such as `/restore`.
    """
    if settings.public_base_url is not None:
        return settings.public_base_url
    # By hand: `urlsplit` raises where the header Host is none, such as `[:::::]`.
    seen_scheme, _, rest = call.url.partition("://")
    seen_host, slash, rest = rest.partition("/")
    path = slash + re.split(r"[?#]", rest, maxsplit=1)[0]
    scheme = _first(call.headers, "X-Forwarded-Proto")
    host = _first(call.headers, "X-Forwarded-Host")
    scheme = scheme if scheme in ("http", "https") else seen_scheme
    host = host if host is not None and _HOST.fullmatch(host) else seen_host
    prefix, found, _ = path.rpartition(route)
    return f"{scheme}://{host}{prefix if found else path.rstrip('/')}"


def _first(headers: Mapping[str, str], name: str) -> str | None:
    """Return the first value of a header to which each proxy adds its own."""
    value = headers.get(name)
    return None if value is None else value.partition(",")[0].strip()


def page_link(address: str, parameters: Mapping[str, str]) -> str:
    """Return the address of another page of a list. It holds no key."""
    return f"{address}?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def whole_number(call: HttpCall, name: str, *, most: int, default: int) -> int:
    """Read a parameter that is a whole number from 1 on.

    Raises:
        InvalidRequest: it is none, or larger than the most.
    """
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise bad_parameter(name, f"must be a whole number from 1 to {most}")
    return int(text)


def read_day(call: HttpCall, name: str) -> date:
    """Read a parameter that is a day.

    Raises:
        InvalidRequest: it is missing, none, or not written as YYYY-MM-DD.
    """
    text = call.query.get(name, "")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    # Python reads other forms as well.
    if day.isoformat() != text or day == date.max:
        raise bad_parameter(name, "must be a day as YYYY-MM-DD")
    return day


def check_names(call: HttpCall, known: Collection[str]) -> None:
    """Refuse a parameter that nobody knows: a filter that is misspelled would list everything.

    Args:
        call: the request. A key may stand in its query as `code`.
        known: the names of its parameters.

    Raises:
        InvalidRequest: it has another one.
    """
    for name in call.query:
        if name not in known and name != "code":
            raise bad_parameter(name[:LONGEST_PARAMETER], f"is unknown; known are {', '.join(known)}")


def bad_parameter(name: str, what: str) -> InvalidRequest:
    """Return the error of a parameter of the query."""
    message = f"the parameter {name} {what}"
    return InvalidRequest(message, target=name, details=[Fault("InvalidValue", message, name)])
