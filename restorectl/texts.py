"""Formats numbers and times for people, and makes foreign text harmless for a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KIB = 1024.0
_MINUTE, _HOUR = 60, 3600
# What JSON may hold as it is and a terminal may obey: DEL, the C1 controls, signs that change the direction of text.
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def plain(value: object) -> str:
    """Return a text that a terminal shows as it is: control characters and marks of direction are written as escapes.

    The name of a file or a table may be any text, and so may what an error quotes.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(value))


def safe_json(text: str) -> str:
    """Return a JSON text in which such characters are escaped; it stands for the same value."""
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def count(number: int | None, word: str = "") -> str:
    """Return a whole number in groups of three, followed by the plural word; nothing for None."""
    return "" if number is None else f"{number:,} {word.removesuffix('s') if number == 1 else word}".rstrip()


def size(number: int | None) -> str:
    """Return a size in bytes as a person says it; nothing for None."""
    if number is None:
        return ""
    if number < _KIB:
        return f"{number} B"
    amount, unit = number / _KIB, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < _KIB:
            break
        amount, unit = amount / _KIB, larger
    return f"{amount:.1f} {unit}"


def seconds(number: float | None) -> str:
    """Return a duration in seconds as a person says it; nothing for None."""
    if number is None:
        return ""
    if round(number, 1) < _MINUTE:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"


def percent(number: float | None) -> str:
    """Return a percentage; nothing for None."""
    return "" if number is None else f"{number:.0f} %"


def moment(text: Any) -> str:
    """Return a time of an answer (`2025-01-01T02:03:04.567Z`) to the second; nothing for None."""
    return "" if text is None else re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$", r"\1 \2Z", str(text))


def minute(text: Any) -> str:
    """Return a time of an answer to the minute, which is enough in a list; nothing for None."""
    return re.sub(r":\d\dZ$", "Z", moment(text))


def facts(values: Mapping[str, Any]) -> str:
    """Return facts of an answer as a person reads them: `line 2, column v, rows 3`; null ones are left out."""
    known = ((name, value) for name, value in values.items() if value is not None)
    return ", ".join(f"{name.replace('_', ' ')} {_fact(value)}" for name, value in known)


def _fact(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_fact(one) for one in value)
    return f"({facts(value)})" if isinstance(value, Mapping) else str(value)
