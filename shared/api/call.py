"""An HTTP request as the host hands it over: its parameters, the address that its caller used, and pages of a list."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import quote

from shared.errors import Fault, InvalidRequest
from shared.names import MAX_NAME_BYTES
from shared.settings import Settings

# Twice the longest name of a table: schema and table with 63 bytes each, in quotes. Storage answers longer filters with
# an error that looks temporary.
_LONGEST_TEXT = 512
# A path has 1,024 characters, and each may be percent-encoded, of four bytes.
_LONGEST_ADDRESS = 16_384
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII
)
_LONGEST_NAME, _LAST_PORT = 253, 65_535
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


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
        of_host: the host's trace context of the invocation, which continues that of the caller; None if it has none.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    route: Mapping[str, str]
    body: bytes
    request_id: str = field(default_factory=new_request_id)
    of_host: str | None = None

    @property
    def traceparent(self) -> str:
        """The trace context that the call belongs to; empty if there is none that can be read."""
        given = (self.of_host, self.headers.get("traceparent"))
        return next((one for one in given if one is not None and _TRACEPARENT.fullmatch(one)), "")


def base_url(call: HttpCall, settings: Settings, route: str) -> str:
    """Return what links begin with: the address by which the caller reached the function, up to its route.

    App Service ends TLS in front of the function and says what the caller used in `X-Forwarded-Proto` and
    `X-Forwarded-Host` (a proxy in front of it adds the latter):
    https://learn.microsoft.com/azure/app-service/configure-language-python#detect-https-session

    Args:
        call: the request.
        settings: `PUBLIC_BASE_URL` wins.
        route: the path after the base, such as `/restore`.
    """
    if settings.public_base_url is not None:
        return settings.public_base_url
    # By hand: `urlsplit` raises if the header Host is not a host, such as `[:::::]`.
    seen_scheme, colon, rest = call.url.partition("://")
    seen_host, slash, rest = (rest if colon else call.url).partition("/")
    path = slash + re.split(r"[?#]", rest, maxsplit=1)[0]
    scheme = _first(call.headers, "X-Forwarded-Proto")
    host = _first(call.headers, "X-Forwarded-Host")
    scheme = scheme if scheme in ("http", "https") else seen_scheme
    host = host if host is not None and _is_host(host) else seen_host
    prefix, found, _ = path.rpartition(route)
    path = prefix if found else path.rstrip("/")
    # An address without a host, as from `Host: [:::::]`, is left to the caller, who knows the host.
    return f"{scheme}://{host}{path}" if _is_host(host) else path


def _is_host(text: str) -> bool:
    """Whether a text is a name or an address of a host, with a port or without one."""
    match = _HOST.fullmatch(text)
    if match is None or len(match["name"] or "") > _LONGEST_NAME:
        return False
    if match["port"] is not None and not 1 <= int(match["port"]) <= _LAST_PORT:
        return False
    if match["v6"] is not None:
        try:
            ipaddress.IPv6Address(match["v6"])
        except ValueError:
            return False
    return True


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
        InvalidRequest: it is not such a number, or is larger than `most`.
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
        InvalidRequest: it is missing, is not a day, or is not written as YYYY-MM-DD.
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
    """Refuse an unknown parameter, or a value that no parameter can have.

    A misspelled filter would list everything. Storage and PostgreSQL must not get arbitrary text either.

    Args:
        call: the request. A key may stand in its query as `code`.
        known: the names of its parameters.

    Raises:
        InvalidRequest: it has another one, or a value that is too long, or holds a control character or half a
            surrogate pair.
    """
    for name, value in call.query.items():
        if name == "code":
            continue
        if name not in known:
            raise bad_parameter(name, f"is unknown; known are {', '.join(known)}")
        most = _LONGEST_ADDRESS if name == "adls_url" else _LONGEST_TEXT
        if len(value) > most:
            raise bad_parameter(name, f"has more than {most} characters")
        if _NO_TEXT.search(value):
            raise bad_parameter(name, "must not hold a control character or half a surrogate pair")


def bad_parameter(name: str, what: str) -> InvalidRequest:
    """Return the error of a parameter of the query. Its name may be any text."""
    name = _NO_TEXT.sub("?", name[:MAX_NAME_BYTES])
    message = f"the parameter {name} {what}"
    return InvalidRequest(message, target=name, details=[Fault("InvalidValue", message, name)])
