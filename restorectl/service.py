"""The function app over HTTP: one origin, one key in a header, requests that may be repeated, answers that are JSON."""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from restorectl import __version__
from restorectl.exit_codes import CommandError, ExitCode, Kind, ServiceError, UsageError

# The platform's own words for "later". They come from a gateway or from a host that starts.
_BUSY = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_MOST_PAUSE = 60.0
# The plan of a backfill of ten years is made in one call.
_READ_SECONDS = 120.0
# Azure cuts a call after 230 s, and not every network says so.
_READ_SECONDS_OF_A_RESTORE = 300.0
# Of 1,000 entries each.
_MOST_PAGES = 10_000
_ID = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)


class Unanswered(CommandError):
    """There was no answer of the function app.

    Attributes:
        was_sent: whether the request may have reached it.
        status: the HTTP status of whatever answered instead, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        was_sent: bool,
        status: int | None = None,
        code: ExitCode | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.was_sent = was_sent
        self.status = status


@dataclass(frozen=True)
class Answer:
    """An answer of the function app that is not an error.

    Attributes:
        status: of HTTP.
        body: the JSON object.
        retry_after: in how many seconds the caller should look again, or None.
        was_repeated: whether the request was sent more than once.
    """

    status: int
    body: dict[str, Any]
    retry_after: float | None
    was_repeated: bool = False


def base_of(url: str) -> str:
    """Return the address that all paths follow: `https://<host>/api`.

    Args:
        url: that, or the host alone, or the address of `POST /restore`.

    Raises:
        UsageError: it is not such an address, or holds the key, or the key could be read on its way.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise UsageError("RESTORE_URL must look like https://<host>/api") from None
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise UsageError("RESTORE_URL must not contain the key: put the key into RESTORE_KEY")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("RESTORE_URL must look like https://<host>/api")
    if parts.scheme == "http" and not _is_this_machine(host):
        raise UsageError("RESTORE_URL must begin with https://, or the key could be read on its way")
    path = re.sub(r"/restore$", "", parts.path.rstrip("/"))
    return f"{parts.scheme}://{parts.netloc}{path or '/api'}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_id(text: str) -> str:
    """Return an id of an operation.

    Raises:
        UsageError: it cannot be one.
    """
    if not _ID.fullmatch(text):
        raise UsageError("an id is 1 to 64 of the characters A-Z, a-z, 0-9, dot, hyphen and underscore")
    return text


@dataclass
class Service:
    """A function app.

    Attributes:
        base: what all paths follow, `https://<host>/api`.
        key: goes into a header of each request, and nowhere else; None for a local host, which asks for none.
        retry_seconds: how long a request is sent again while there is no answer.
        say: prints what a person should know meanwhile.
    """

    base: str
    key: str | None = field(repr=False)
    retry_seconds: float
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        headers = {"Accept": "application/json", "User-Agent": f"restorectl/{__version__}"}
        if self.key is not None:
            headers["x-functions-key"] = self.key
        self._client = httpx2.Client(
            headers=headers,
            # A redirect would carry the key to another host.
            follow_redirects=False,
            # A proxy cannot reach this machine's loopback.
            trust_env=not _is_this_machine(urlsplit(self.base).hostname or ""),
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, retries: bool = True) -> Answer:
        """Ask for something. It is sent again while there is no answer, unless `retries` is false.

        Raises:
            ServiceError: the answer is an error.
            Unanswered: there is none.
        """
        return self._ask("GET", path, query=query, is_repeatable=retries)

    def delete(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Cancel something, which may be repeated. Raises as `get`."""
        return self._ask("DELETE", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None, operation_id: str | None = None) -> Answer:
        """Start something under an id, by which a repeat is the same operation. Raises as `get`."""
        headers = {} if operation_id is None else {"Operation-Id": operation_id, "Prefer": "respond-async"}
        return self._ask("POST", path, body=body, headers=headers)

    def post_once(self, path: str, body: Mapping[str, Any] | None, seconds: float | None = None) -> Answer:
        """Start something that may not be started twice. Only a request that was never sent is sent again.

        Args:
            path: below the base.
            body: the JSON object, or None.
            seconds: how long to wait for the answer; None: as long as Azure lets a call run, and a bit.

        Raises:
            ServiceError: the answer is an error.
            Unanswered: there is none.
        """
        read_seconds = _READ_SECONDS_OF_A_RESTORE if seconds is None else seconds
        return self._ask("POST", path, body=body, is_repeatable=False, read_seconds=read_seconds)

    def pages(self, path: str, query: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        """Yield the `value` of each page of a list. Raises as `get`; a page of another origin is not asked for."""
        answer, seen = self.get(path, query), set[str]()
        yield _objects(answer)
        while (link := answer.body.get("nextLink")) is not None:
            # A list whose pages link in a circle has no end.
            if str(link) in seen or len(seen) >= _MOST_PAGES:
                raise CommandError("the list goes on without an end")
            seen.add(str(link))
            self._check_origin(str(link))
            answer = self._ask("GET", str(link))
            yield _objects(answer)

    def url(self, path: str) -> str:
        """Return the address of a path below the base."""
        return self.base + path

    def _check_origin(self, link: str) -> None:
        try:
            own, other = urlsplit(self.base), urlsplit(link)
            httpx2.URL(link)
        except (ValueError, httpx2.InvalidURL):
            raise CommandError("the next page of the list has no valid address") from None
        if (own.scheme, own.netloc) != (other.scheme, other.netloc):
            raise CommandError(
                f"the next page of the list is at {other.scheme}://{other.hostname}, which is not {own.scheme}://{own.netloc}:"
                " the key is not sent there",
                next_step="set RESTORE_URL to the address that PUBLIC_BASE_URL of the function app names",
            )

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = True,
        read_seconds: float = _READ_SECONDS,
    ) -> Answer:
        url = path if "://" in path else self.url(path)
        request = self._client.build_request(
            method,
            url,
            params=query,
            json=body,
            headers=headers,
            timeout=httpx2.Timeout(10.0, read=read_seconds),
        )
        deadline = time.monotonic() + self.retry_seconds
        pause, was_repeated = 1.0, False
        while True:
            try:
                return replace(self._send(request), was_repeated=was_repeated)
            except _Again as exc:  # noqa: PERF203 - it is a loop for that
                wait = min(pause if exc.retry_after is None else exc.retry_after, _MOST_PAUSE)
                may = is_repeatable or (method == "POST" and not exc.error_was_sent)
                if not may or time.monotonic() + wait > deadline:
                    raise exc.error from None
                self.say(f"{exc.error}; again in {wait:.0f} s")
                time.sleep(wait)
                pause, was_repeated = min(2 * pause, _MOST_PAUSE), True

    def _send(self, request: httpx2.Request) -> Answer:
        try:
            response = self._client.send(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
            step = "check RESTORE_URL, and that the function app runs (locally: make serve)"
            away = Unanswered(f"{self.base} cannot be reached: {exc}", was_sent=False, next_step=step)
            # A certificate that is not trusted now will not be in a minute.
            raise away if _is_distrust(exc) else _Again(away) from None
        except httpx2.HTTPError as exc:
            what = "did not answer in time" if isinstance(exc, httpx2.TimeoutException) else f"broke off: {exc}"
            raise _Again(Unanswered(f"{self.base} {what}", was_sent=True)) from None
        answer = _read(response)
        error: CommandError
        if answer is None:
            error = _not_ours(response, self.base)
        elif "error" in answer and response.is_error:
            error = ServiceError(answer)
        else:
            return Answer(response.status_code, answer, _retry_after(response))
        if response.status_code in _BUSY:
            raise _Again(error, _retry_after(response))
        raise error


def _is_distrust(exc: BaseException | None) -> bool:
    while exc is not None and not isinstance(exc, ssl.SSLCertVerificationError):
        exc = exc.__cause__ or exc.__context__
    return exc is not None


class _Again(Exception):
    """There was no usable answer; the same request may get one."""

    def __init__(self, error: CommandError, retry_after: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.retry_after = retry_after

    @property
    def error_was_sent(self) -> bool:
        """Whether the request may have reached the function."""
        return not isinstance(self.error, Unanswered) or self.error.was_sent


def _read(response: httpx2.Response) -> dict[str, Any] | None:
    """Return the JSON object of an answer; None if the answer is not the function's."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or response.is_redirect:
        return None
    if response.is_error:
        error = body.get("error")
        return body if isinstance(error, dict) and "code" in error and "message" in error else None
    # A monitor and an answer have the one, a list has the other.
    return body if isinstance(body.get("status"), str) or isinstance(body.get("value"), list) else None


def _objects(answer: Answer) -> list[dict[str, Any]]:
    """Return the objects that a page lists.

    Raises:
        CommandError: it lists none.
    """
    value = answer.body.get("value")
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise CommandError("the answer is not a list that this version of restorectl can read")
    return value


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _not_ours(response: httpx2.Response, base: str) -> Unanswered:
    """Return the error of an answer that is not the function's."""
    status = response.status_code
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip() or "no content"
    seen = f"HTTP {status}, {media_type}"
    if response.is_redirect:
        other = _host_of(response.headers.get("Location", ""))
        return Unanswered(
            f"{base} sends the request on to {other} ({seen}); it was not followed, since it would carry the key there",
            was_sent=True,
            status=status,
            next_step="set RESTORE_URL to the address of the function app",
        )
    if status == HTTPStatus.UNAUTHORIZED:
        return Unanswered(
            f"the key is missing or wrong ({seen})",
            was_sent=False,
            status=status,
            code=ExitCode.NOT_ALLOWED,
            next_step="set RESTORE_KEY, RESTORE_KEY_FILE or --key-command to a host key; a function key opens one"
            " function only (restorectl --help)",
        )
    if status == HTTPStatus.FORBIDDEN:
        return Unanswered(
            f"the function app does not admit this machine ({seen})",
            was_sent=False,
            status=status,
            code=ExitCode.NOT_ALLOWED,
            next_step="see the access restrictions of the function app",
        )
    if status == HTTPStatus.NOT_FOUND:
        return Unanswered(
            f"there is no such function at {base} ({seen})",
            was_sent=False,
            status=status,
            next_step="check RESTORE_URL; an older function app may lack this function",
        )
    return Unanswered(
        f"the answer is not the function's ({seen}): a gateway or a proxy on the way answered",
        was_sent=True,
        status=status,
    )


def _host_of(link: str) -> str:
    try:
        return urlsplit(link).hostname or "another path"
    except ValueError:
        return "something that is not an address"


def operation_path(kind: Kind, operation_id: str) -> str:
    """Return the path of an operation.

    Args:
        kind: of the operation.
        operation_id: of the operation.
    """
    return f"/{kind}/{quote(operation_id, safe='')}"
