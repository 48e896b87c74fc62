"""The text of a setting -> its value. What cannot be read names the setting and never what it holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from shared.errors import ConfigurationError
from shared.secret import Secret

PgAuth = Literal["password", "entra"]

_MOST_DIGITS = 15
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}(?:\.[a-z0-9.]+)?(?:/[a-z0-9$-]{3,63})?", re.ASCII)
_HOST = re.compile(r"[a-z0-9._-]+(?::[0-9]{1,5})?|\[?[0-9a-f:.]+\]?|\[[0-9a-f:.]+\]:[0-9]{1,5}|/.*", re.ASCII)


def whole_number(name: str, text: str | None, *, default: int, minimum: int, maximum: int) -> int:
    """Read a whole number.

    Args:
        name: of the setting.
        text: what it holds; None: it is missing.
        default: the value of a missing one.
        minimum: the smallest value that it may have.
        maximum: the largest.

    Raises:
        ConfigurationError: it is something else.
    """
    if text is None:
        return default
    # isdecimal keeps out "1_000" and " 5 ", which int() would take.
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not is_number or not minimum <= int(text) <= maximum:
        raise ConfigurationError(f"the setting {name} must be a whole number from {minimum} to {maximum}", target=name)
    return int(text)


def flag(name: str, text: str | None) -> bool:
    """Read `true` or `false`; a missing one is false."""
    value = {None: False, "false": False, "true": True}.get(text if text is None else text.lower())
    if value is None:
        raise ConfigurationError(f"the setting {name} must be true or false", target=name)
    return value


def pg_auth(name: str, text: str | None) -> PgAuth | None:
    """Read `password` or `entra`."""
    values: dict[str, PgAuth] = {"password": "password", "entra": "entra"}
    if text is None:
        return None
    if text.lower() not in values:
        raise ConfigurationError(f"the setting {name} must be password or entra", target=name)
    return values[text.lower()]


def secret(text: str | None) -> Secret | None:
    """Keep a text secret from here on."""
    return None if text is None else Secret(text)


def names(
    name: str, text: str | None, check: Callable[[str], bool] = bool, what: str = "names"
) -> tuple[str, ...] | None:
    """Read a list with commas between its items.

    Args:
        name: of the setting.
        text: what it holds; None: it is missing.
        check: whether an item is of its kind.
        what: the kind, for the error.

    Returns:
        The items; None where the setting is missing, which allows everything.

    Raises:
        ConfigurationError: an item is not of its kind, or there is none: an allow list that was emptied by mistake must
            not allow everything, and one that allows nothing is a mistake too. So an empty setting is no missing one.
    """
    if text is None:
        return None
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items or not all(check(item) for item in items):
        raise ConfigurationError(f"the setting {name} must be a list of {what} with commas between them", target=name)
    return items


def accounts(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read storage accounts: `account` or its whole host, each with `/filesystem` or without."""
    kind = "<account> or <account>/<file system>"
    return names(name, text and text.lower(), lambda item: _ACCOUNT.fullmatch(item) is not None, kind)


def hosts(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read hosts of PostgreSQL: `host` or `host:port`."""
    found = names(name, text, lambda item: _HOST.fullmatch(item.lower()) is not None, "<host> or <host>:<port>")
    # Names are the same in upper and lower case, folders are not.
    return found and tuple(item if item.startswith("/") else item.lower() for item in found)


def targets(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read tables: `schema.table`, with `*` for any text and `?` for one character."""
    return names(name, text, lambda item: all(item.partition(".")), "<schema>.<table>")
