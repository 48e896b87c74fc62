"""Secrets: a type that prints as ***, and a search that finds the same text wherever else it stands.

Whatever holds a password, a token, a key or a signature is a `Secret` from the moment it is read. That keeps it out of
every `repr`. It does not keep it out of what others write: urllib3 logs the query of a URL, signature included, and
libpq quotes a host. So every secret that is alive is known here, and `redact` takes all of them out of a text.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from urllib.parse import quote, unquote, unquote_plus
from weakref import WeakValueDictionary

from pydantic import SecretStr

SHOWN = "***"

# Of a message that a server wrote, in characters.
_LONGEST_MESSAGE = 1000

# Shorter ones would take letters out of every word, and so tell what they are.
_SHORTEST = 4
_MOST_INNER = 10

# Where a secret holds more than itself: a SAS, a connection string, a connection URI.
_NAMED = re.compile(r"(?:^|[?&;])(?:sig|accountkey|sharedaccesssignature|password|sslpassword)=([^&;]+)", re.IGNORECASE)

_live: WeakValueDictionary[int, Secret] = WeakValueDictionary()
# Reentrant: the garbage collector may run in the middle of it, and what it collects may log, which comes back here.
_lock = threading.RLock()
_shown: ContextVar[tuple[Secret, ...]] = ContextVar("shown_to_server", default=())


class Secret(SecretStr):
    """Text that is shown nowhere. `get_secret_value()` gives it to the one that it is for."""

    def __init__(self, secret_value: str) -> None:
        super().__init__(secret_value)
        # Found once: every log line is searched.
        self._written = tuple(_ways_to_write(secret_value))
        with _lock:
            _live[id(self)] = self

    def _display(self) -> str:
        return SHOWN

    @property
    def written(self) -> tuple[str, ...]:
        """The texts that would give the secret away."""
        return self._written


def redact(text: str) -> str:
    """Take every secret that is alive out of a text. For logs: to a caller it would tell which guess is a secret."""
    with _lock:
        alive = list(_live.values())
    return _without(alive, text)


@contextmanager
def shown_to_server(secret: Secret | None) -> Iterator[None]:
    """Note that a server is shown a secret while the body runs: its messages may repeat it."""
    token = _shown.set((*_shown.get(), *(() if secret is None else (secret,))))
    try:
        yield
    finally:
        _shown.reset(token)


def redact_from_server(text: str) -> str:
    """Take out of a server's text what it was shown, and cut it short: a server may say anything, of any length."""
    text = _without(_shown.get(), text)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."


def _without(secrets: Iterable[Secret], text: str) -> str:
    found = {written for secret in secrets for written in secret.written}
    for written in sorted(found, key=len, reverse=True):
        text = text.replace(written, SHOWN)
    return text


def _inner(value: str) -> Iterator[str]:
    """Find the secrets inside a secret."""
    yield from (found[1] for found in islice(_NAMED.finditer(value), _MOST_INNER))
    _, is_url, rest = value.partition("://")
    if is_url:
        # Up to the last @ and up to the first one: a password may hold one that was not escaped.
        for who in (rest.rpartition("@")[0], rest.partition("@")[0]):
            yield who.partition(":")[2]


def _ways_to_write(value: str) -> Iterator[str]:
    for text in {value, *_inner(value)}:
        plain = {text, unquote(text), unquote_plus(text)}
        # As a URL has it, in upper and lower case, and as JSON and Python's repr have it.
        escaped = {quote(one, safe=safe) for one in plain for safe in ("", "/")}
        escaped |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in escaped}
        escaped |= {json.dumps(one)[1:-1] for one in plain} | {repr(one)[1:-1] for one in plain}
        yield from (one for one in plain | escaped if len(one) >= _SHORTEST)
