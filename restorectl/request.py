"""Builds the JSON body of a request from the command line. The function app checks it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from restorectl.exit_codes import UsageError


def read_request(path: Path | None) -> dict[str, Any]:
    """Read the fields of a request for which the command line has no options.

    Args:
        path: of a JSON object; `-` is standard input, None an empty object.

    Raises:
        UsageError: it cannot be read, or is not a JSON object.
    """
    if path is None:
        return {}
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
        value = json.loads(text)
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise UsageError(f"{path} is not JSON: {exc}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a JSON object")
    return value


def with_section(body: dict[str, Any], name: str, **fields: Any) -> dict[str, Any]:
    """Return a body with fields of one section set; what is None is left as it is.

    Raises:
        UsageError: the section is not an object.
    """
    given = {field: value for field, value in fields.items() if value is not None}
    if not given:
        return body
    section = body.get(name) or {}
    if not isinstance(section, dict):
        raise UsageError(f"{name} of --request is not an object")
    return body | {name: section | given}
