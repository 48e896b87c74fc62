"""Parses the JSON body of a request. Reports all faults at once; no fault repeats a value."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.csvfile.head import MOST_COLUMNS
from shared.csvfile.options import OPTION_NAMES
from shared.errors import Fault, InvalidJson, InvalidRequest, RequestTooLarge, UnsupportedMediaType
from shared.model.request import Copy, Destination, Pg, RestoreRequest, Timescaledb
from shared.names import MAX_NAME_BYTES
from shared.process import MIB
from shared.settings import Settings

M = TypeVar("M", bound=BaseModel)

# Data Factory accepts answers of 4 MB at most, and a person reads fewer faults than that.
_MOST_FAULTS = 100
_TOO_MANY = f"must hold {MOST_COLUMNS} entries at most, as many as a table has columns"
# A column_map of 1,600 columns with names of 63 bytes needs a fifth of it.
_MOST_BYTES = MIB


# RFC 9110, section 8.3.1; parameters, such as charset, follow after a semicolon.
_JSON_TYPE = re.compile(r"application/(?:[!#$%&'*+.^_`|~0-9a-z-]+\+)?json[ \t]*(?:;.*)?", re.IGNORECASE | re.DOTALL)


def require_json(content_type: str | None) -> None:
    """Refuse a body that is not sent as JSON.

    A browser sends `text/plain` and form types to any site without a preflight request
    (https://fetch.spec.whatwg.org/#cors-safelisted-request-header), so a web page could post to a local host.

    Args:
        content_type: the header of this name; None if there is none.

    Raises:
        UnsupportedMediaType: it is neither `application/json` nor a type that ends with `+json`.
    """
    if content_type is None or not _JSON_TYPE.fullmatch(content_type.strip(" \t")):
        what = "has no Content-Type" if content_type is None else "is not sent as JSON"
        raise UnsupportedMediaType(f"the body {what}")


def parse_request(
    body: bytes, *, default_account_url: str | None = None, default_filesystem: str | None = None
) -> RestoreRequest:
    """Read and check a request for one day. Raises as `parse_as`.

    Args:
        body: the HTTP body, JSON in UTF-8.
        default_account_url: the account that a bare path belongs to.
        default_filesystem: the file system that a bare path belongs to.

    Returns:
        The request, frozen.
    """
    context = {"default_account_url": default_account_url, "default_filesystem": default_filesystem}
    return parse_as(RestoreRequest, body, context)


def parse_as(model: type[M], body: bytes, context: Mapping[str, Any]) -> M:
    """Read and check a request.

    Args:
        model: what it must be.
        body: the HTTP body, JSON in UTF-8.
        context: for the model's validators.

    Raises:
        RequestTooLarge: the body is larger than 1 MiB.
        InvalidJson: the body is not one JSON object.
        InvalidRequest: fields are unknown, missing or wrong; `details` names each, up to 100.
        InvalidArchiveUrl: only `adls_url` is wrong.
        StorageHostNotAllowed: only the host of `adls_url` is wrong.
        ConfigurationError: `adls_url` is a bare path, and the default account or file system cannot be read.
    """
    if len(body) > _MOST_BYTES:
        raise RequestTooLarge(f"the body has {len(body)} bytes, more than {_MOST_BYTES}")
    try:
        document = _load_json(body)
        faults = list(islice(_unusable(document, ()), _MOST_FAULTS))
    except RecursionError:
        raise InvalidJson("the body is nested too deeply") from None
    if faults:
        raise _invalid(faults, len(faults))
    try:
        return model.model_validate(_without_nulls(document), context=dict(context))
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        if len(errors) == 1 and errors[0]["type"] == "adls_url":
            raise errors[0]["ctx"]["error"] from None
        raise _invalid([_fault(error, model) for error in errors[:_MOST_FAULTS]], len(errors)) from None


def _invalid(faults: Sequence[Fault], count: int) -> InvalidRequest:
    """Return the error for faults; a single one is the message."""
    first = faults[0]
    message = f"{first.target}: {first.message}" if count == 1 else f"{count} fields are wrong"
    return InvalidRequest(message, target=first.target, details=faults)


def parse_for(body: bytes, settings: Settings) -> RestoreRequest:
    """Read and check a request, with the default account and file system of the settings. Raises as `parse_request`."""
    return parse_request(
        body,
        default_account_url=settings.adls_account_url_default,
        default_filesystem=settings.adls_filesystem_default,
    )


def _load_json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except ValueError as exc:
        # Report only the position: the text around it may be a password.
        place = f" at line {exc.lineno} column {exc.colno}" if isinstance(exc, json.JSONDecodeError) else ""
        reason = str(exc) if isinstance(exc, _JsonRuleError) else "the body is not valid JSON"
        raise InvalidJson(reason + place) from None
    if not isinstance(document, dict):
        raise InvalidJson("the body is JSON, but not an object")
    return document


class _JsonRuleError(ValueError):
    """JSON that Python accepts but that is ambiguous or not standard."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _JsonRuleError("an object in the body has the same name twice")
    return dict(pairs)


def _no_constant(_: str) -> Any:
    raise _JsonRuleError("NaN and Infinity are not JSON")


def _unusable(value: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    """Find text that PostgreSQL or UTF-8 cannot hold, U+0000 and half of a surrogate pair, and lists that are too long.

    No item of such a list is looked at: a body has room for 300,000.
    """
    if isinstance(value, (dict, list)) and len(value) > MOST_COLUMNS:
        yield Fault("InvalidValue", _TOO_MANY, _target(path))
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            yield Fault("InvalidValue", "must not hold U+0000 or half a surrogate pair", _target(path))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _unusable(name, path)
            yield from _unusable(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unusable(item, (*path, index))


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """Drop null fields, at the top level and in each section: null means the same as omitted."""
    return {
        name: {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
        for name, value in document.items()
        if value is not None
    }


_PYDANTIC_CODES = {"extra_forbidden": "UnknownField", "missing": "MissingField"}
# By Pydantic's types of errors, whose own messages speak of parsing.
_WHOLE, _FLAG, _TEXT = "must be a whole number", "must be true or false", "must be a text"
_MESSAGES = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "string_type": _TEXT,
}


def _fault(error: ErrorDetails, request: type[BaseModel]) -> Fault:
    code = _PYDANTIC_CODES.get(error["type"], "InvalidValue")
    path = error["loc"]
    if error["type"] == "adls_url":
        return Fault(error["ctx"]["error"].code, error["msg"], _target(path))
    if error["type"] == "of_field":
        path = (*path, *error["ctx"]["field"].split("."))
    in_csv_options = path[:2] == ("copy", "csv_options")
    if in_csv_options and len(path) > 2:  # noqa: PLR2004 - an option's name follows those of the two sections
        path = (*path[:2], str(path[2]).upper(), *path[3:])
    if code == "UnknownField":
        return Fault(code, "unknown field" + _did_you_mean(path, request, in_csv_options=in_csv_options), _target(path))
    message = _MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
    return Fault(code, message[:1].lower() + message[1:], _target(path))


def _did_you_mean(path: tuple[str | int, ...], request: type[BaseModel], *, in_csv_options: bool) -> str:
    sections: dict[str | int, type[BaseModel]] = {
        "pg": Pg,
        "destination": Destination,
        "timescaledb": Timescaledb,
        "copy": Copy,
    }
    if in_csv_options:
        known = list(OPTION_NAMES)
    else:
        model = request if len(path) == 1 else sections[path[0]]
        known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _target(path: tuple[str | int, ...]) -> str:
    """Format a path into the request, shortened: an unknown name can have any length and hold any character."""
    text = ".".join(str(part)[:MAX_NAME_BYTES] for part in path) or "body"
    return text.encode("utf-8", "replace").decode("utf-8")
