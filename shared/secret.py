"""Secrets: a type that prints as ***, and a search that finds the same text wherever else it stands.

Whatever holds a password, a token, a key or a signature is a `Secret` from the moment it is read. That keeps it out of
every `repr`. It does not keep it out of what others write: urllib3 logs the query of a URL, signature included, and
libpq quotes a host. So every secret that is alive is known here, and `redact` takes all of them out of a text.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote, unquote, unquote_plus
from weakref import WeakValueDictionary

from pydantic import SecretStr

SHOWN = "***"

# Shorter ones would take letters out of every word, and so tell what they are.
_SHORTEST = 4

# Where a secret holds more than itself: a SAS, a connection string, a connection URI.
_INNER = (
    re.compile(r"(?:^|[?&;])(?:sig|accountkey|sharedaccesssignature|password|sslpassword)=([^&;]+)", re.IGNORECASE),
    re.compile(r"^[a-z]+://[^/@]*?:(.*)@", re.IGNORECASE | re.DOTALL),
    re.compile(r"^[a-z]+://[^/@:]*:([^@]*)@", re.IGNORECASE),
)

_live: WeakValueDictionary[int, Secret] = WeakValueDictionary()
_lock = threading.Lock()


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
    """Take every secret that is alive out of a text."""
    with _lock:
        found = {written for secret in _live.values() for written in secret.written}
    for written in sorted(found, key=len, reverse=True):
        text = text.replace(written, SHOWN)
    return text


def _ways_to_write(value: str) -> Iterator[str]:
    inner = [match for pattern in _INNER for match in pattern.findall(value)]
    for text in {value, *inner}:
        plain = {text, unquote(text), unquote_plus(text)}
        # As a URL has it, in upper and lower case, and as JSON and Python's repr have it.
        escaped = {quote(one, safe=safe) for one in plain for safe in ("", "/")}
        escaped |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), one) for one in escaped}
        escaped |= {json.dumps(one)[1:-1] for one in plain} | {repr(one)[1:-1] for one in plain}
        yield from (one for one in plain | escaped if len(one) >= _SHORTEST)
