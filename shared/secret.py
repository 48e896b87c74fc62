"""Secrets: a type that prints as ***, and a search that removes the same text from messages and logs.

A password, token, key or signature is a `Secret` from the moment it is read. That keeps it out of every `repr`, but not
out of what libraries write: urllib3 logs the query of a URL, signature included, and libpq quotes a host. So this
module keeps track of every live secret, and `redact` removes all of them from a text.
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

# The most that is kept of a server's message, in characters.
_LONGEST_MESSAGE = 1000

# Redacting shorter secrets would punch holes into ordinary words and so reveal them.
_SHORTEST = 4
_MOST_INNER = 10

# The secret part of a longer secret: a SAS, a connection string, a connection URI.
_NAMED = re.compile(r"(?:^|[?&;])(?:sig|accountkey|sharedaccesssignature|password|sslpassword)=([^&;]+)", re.IGNORECASE)

# A signature, an account key or a token, by its place: an SDK may write it half escaped, which matches no live secret.
_PLACED = re.compile(
    r"""((?:(?<![A-Za-z_])|(?<=3[Ff]))
         (?: (?:sig|accountkey|sharedaccesssignature) (?: = | %(?:25)*3d )
           | (?:bearer|sharedkey) [ ] ))
        [^&;\s"'<>]+""",
    re.IGNORECASE | re.VERBOSE,
)

_live: WeakValueDictionary[int, Secret] = WeakValueDictionary()
# Reentrant: the garbage collector may run while the lock is held, and what it collects may log, which locks again.
_lock = threading.RLock()
_shown: ContextVar[tuple[Secret, ...]] = ContextVar("shown_to_server", default=())


class Secret(SecretStr):
    """Text that is never displayed. `get_secret_value()` returns it for its intended use."""

    def __init__(self, secret_value: str) -> None:
        super().__init__(secret_value)
        # Computed once, since every log line is searched for them.
        self._written = tuple(_ways_to_write(secret_value))
        with _lock:
            _live[id(self)] = self

    def _display(self) -> str:
        return SHOWN

    @property
    def written(self) -> tuple[str, ...]:
        """The texts that would reveal the secret."""
        return self._written


def redact(text: str) -> str:
    """Remove every live secret from a text, and whatever is in the place of a signature, key or token.

    For logs only: it would tell a caller which guess is a secret.
    """
    with _lock:
        alive = list(_live.values())
    return _PLACED.sub(rf"\1{SHOWN}", _without(alive, text))


@contextmanager
def shown_to_server(secret: Secret | None) -> Iterator[None]:
    """Record that the body sends a secret to a server, whose messages may repeat it."""
    token = _shown.set((*_shown.get(), *(() if secret is None else (secret,))))
    try:
        yield
    finally:
        _shown.reset(token)


def redact_from_server(text: str) -> str:
    """Remove from a server's text the secrets it was sent, and shorten it: a server may send any text of any length."""
    text = _without(_shown.get(), text)
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."


def _without(secrets: Iterable[Secret], text: str) -> str:
    found = {written for secret in secrets for written in secret.written}
    for written in sorted(found, key=len, reverse=True):
        text = text.replace(written, SHOWN)
    return text


def _inner(value: str) -> Iterator[str]:
    """Yield the secrets inside a secret."""
    yield from (found[1] for found in islice(_NAMED.finditer(value), _MOST_INNER))
    _, is_url, rest = value.partition("://")
    if is_url:
        # Up to the last @ and up to the first: a password may hold an @ that was not escaped.
        for who in (rest.rpartition("@")[0], rest.partition("@")[0]):
            yield who.partition(":")[2]


def _ways_to_write(value: str) -> Iterator[str]:
    for text in {value, *_inner(value)}:
        plain = {text, unquote(text), unquote_plus(text)}
        # As written in a URL, with escapes in upper and lower case, in JSON, and by Python's repr.
        escaped = {quote(one, safe=safe) for one in plain for safe in ("", "/")}
        escaped |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in escaped}
        escaped |= {json.dumps(one)[1:-1] for one in plain} | {repr(one)[1:-1] for one in plain}
        yield from (one for one in plain | escaped if len(one) >= _SHORTEST)
