"""The answers of each operation for the OpenAPI document: by status, with their codes, headers and examples."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from http import HTTPStatus
from typing import Any

from shared.api.handle import WITH_RETRY_AFTER
from shared.errors import (
    ArchiveNotFound,
    ArchiveNotReadable,
    CaggNotFound,
    ConfigurationError,
    ConnectionOptionRejected,
    DatabaseAccessDenied,
    DatabaseDiskFull,
    DatabaseFailed,
    DatabaseHostNotAllowed,
    DatabaseInRestoreMode,
    DatabaseNotAllowed,
    DatabaseNotFound,
    DatabasePermissionDenied,
    DatabaseUnreachable,
    DatabaseUserNotAllowed,
    DaysFailed,
    InternalError,
    InvalidArchiveUrl,
    InvalidJson,
    InvalidRequest,
    JobStorageUnreachable,
    OperationEnded,
    OperationIdReused,
    OperationNotEnded,
    OperationNotFound,
    RequestTooLarge,
    RestoreCanceled,
    RestoreError,
    SecretInAsyncRequest,
    SslModeNotAllowed,
    StatementCanceled,
    StorageAccessDenied,
    StorageAccountNotAllowed,
    StorageHostNotAllowed,
    StorageUnreachable,
    TableNotFound,
    TargetLocked,
    TargetNotAllowed,
    TargetNotATable,
    TooManyAttempts,
    TooManyConnections,
    UnknownColumn,
    UnsupportedMediaType,
)
from tools.pages import examples, meanings
from tools.schemas import (
    ANSWER,
    BACKFILL_ANSWER,
    BACKFILL_DRY_RUN,
    BACKFILL_MONITOR,
    BACKFILL_MONITORS,
    CALENDAR,
    ERROR,
    MONITOR,
    MONITORS,
    PLACE,
)

Json = dict[str, Any]
Kinds = Collection[type[RestoreError]]

# Appears inside the answer of a successful restore, never as an answer of its own.
_NEVER_AN_ANSWER: Kinds = {CaggNotFound}
# What a look at the lake and the server may meet.
_LOOK: Kinds = {
    ConfigurationError,
    InternalError,
    InvalidArchiveUrl,
    InvalidRequest,
    JobStorageUnreachable,
    StorageHostNotAllowed,
    StorageAccountNotAllowed,
    StorageAccessDenied,
    StorageUnreachable,
    ArchiveNotFound,
    ArchiveNotReadable,
    TargetNotAllowed,
    TargetNotATable,
    TableNotFound,
    UnknownColumn,
    DatabaseHostNotAllowed,
    DatabaseNotAllowed,
    DatabaseUserNotAllowed,
    SslModeNotAllowed,
    ConnectionOptionRejected,
    DatabaseUnreachable,
    TooManyConnections,
    DatabaseAccessDenied,
    DatabasePermissionDenied,
    DatabaseNotFound,
    DatabaseInRestoreMode,
    TargetLocked,
    StatementCanceled,
    RestoreCanceled,
    DatabaseDiskFull,
    DatabaseFailed,
}
# What only a backfill meets.
_OF_BACKFILLS: Kinds = {DaysFailed, OperationNotEnded}
_SOON = "5, or until the next attempt if everything waits for one, but at most 60"
# What is wrong with a body.
_BODY: Kinds = {InvalidJson, RequestTooLarge, UnsupportedMediaType}
_ANY_OPERATION: Kinds = {ConfigurationError, InternalError, JobStorageUnreachable}


def post_responses() -> Json:
    """Return the answers to a restore: how it ended, or that it was taken."""
    kinds = _all_kinds() - {OperationNotFound, OperationEnded, TooManyAttempts, *_OF_BACKFILLS}
    taken = _taken("The restore waits in the queue. The body is its monitor.", MONITOR)
    taken["headers"]["Preference-Applied"] = _header("`respond-async`")
    return _by_status({HTTPStatus.OK: _restored(), HTTPStatus.ACCEPTED: taken} | _errors(kinds))


def _taken(text: str, schema: str) -> Json:
    taken = _response(text, schema)
    taken["headers"] |= {
        "Operation-Location": _header(
            "Address of the monitor, which answers 200, whatever the status, while the record is kept"
        ),
        "Location": _header("Address of the result, with a token that opens it. It answers 202 until the end"),
        "Retry-After": _seconds(f"When to look again, in seconds: {_SOON}"),
    }
    return taken


def result_responses() -> Json:
    """Return the answers of a result: those of the restore, or that it has not ended."""
    kinds = _all_kinds() - {OperationEnded, OperationIdReused, SecretInAsyncRequest, *_OF_BACKFILLS}
    running = _not_ended("The restore has not ended. The body is its monitor.", MONITOR)
    return _by_status({HTTPStatus.OK: _restored(), HTTPStatus.ACCEPTED: running} | _errors(kinds))


def _not_ended(text: str, schema: str) -> Json:
    running = _response(text, schema)
    running["headers"] |= {
        "Location": _header("The same address"),
        "Retry-After": _seconds(f"When to ask again, in seconds: {_SOON}"),
    }
    return running


def backfill_post_responses() -> Json:
    """Return the answers to a backfill: its plan, or that it was taken."""
    plan = _response("What would be done, with `dry_run`. Nothing was written.", BACKFILL_DRY_RUN)
    taken = _taken("The backfill waits in the queue. The body is its monitor.", BACKFILL_MONITOR)
    kinds = {*_LOOK, *_BODY, OperationNotFound, OperationIdReused, SecretInAsyncRequest}
    return _by_status({HTTPStatus.OK: plan, HTTPStatus.ACCEPTED: taken} | _errors(kinds))


def backfill_result_responses() -> Json:
    """Return the answers of a backfill's result."""
    ended = _response("Each day is restored, skipped or missing. Read `status`.", BACKFILL_ANSWER)
    running = _not_ended("The backfill has not ended. The body is its monitor.", BACKFILL_MONITOR)
    kinds = set(_LOOK) | {OperationNotFound, TooManyAttempts, DaysFailed}
    return _by_status({HTTPStatus.OK: ended, HTTPStatus.ACCEPTED: running} | _errors(kinds))


def backfill_retry_responses() -> Json:
    """Return the answers to a retry."""
    taken = _taken("The backfill waits in the queue once more. The body is its monitor.", BACKFILL_MONITOR)
    kinds = {*_ANY_OPERATION, OperationNotFound, OperationNotEnded}
    return _by_status({HTTPStatus.ACCEPTED: taken} | _errors(kinds))


def backfill_monitor_responses() -> Json:
    """Return the answers of a backfill's monitor."""
    return _with_monitor(HTTPStatus.OK, "The backfill, whatever its status", InvalidRequest, schema=BACKFILL_MONITOR)


def backfill_cancel_responses() -> Json:
    """Return the answers to a stop of a backfill."""
    text = "No further day starts, by this request or an earlier one. The body is its monitor."
    return _with_monitor(HTTPStatus.ACCEPTED, text, InvalidRequest, OperationEnded, schema=BACKFILL_MONITOR)


def backfill_list_responses() -> Json:
    """Return the answers of a list of backfills."""
    found = _response("Backfills, newest first", BACKFILL_MONITORS)
    return _by_status({HTTPStatus.OK: found} | _errors({*_ANY_OPERATION, InvalidRequest}))


def monitor_responses() -> Json:
    """Return the answers of a monitor."""
    return _with_monitor(HTTPStatus.OK, "The restore, whatever its status")


def cancel_responses() -> Json:
    """Return the answers to a cancel."""
    text = "The restore will stop, by this request or an earlier one. The body is its monitor."
    return _with_monitor(HTTPStatus.ACCEPTED, text, OperationEnded)


def _with_monitor(status: HTTPStatus, text: str, *kinds: type[RestoreError], schema: str = MONITOR) -> Json:
    shown = _response(text, schema)
    shown["headers"]["Retry-After"] = _seconds(
        f"When to look again, in seconds, unless it has ended: {_SOON}", required=False
    )
    return _by_status({status: shown} | _errors({*_ANY_OPERATION, OperationNotFound, *kinds}))


def list_responses() -> Json:
    """Return the answers of a list."""
    found = _response("Restores, newest first", MONITORS)
    return _by_status({HTTPStatus.OK: found} | _errors({*_ANY_OPERATION, InvalidRequest}))


def days_responses() -> Json:
    """Return the answers of a calendar. It reads the lake, the server and the record."""
    kinds = _all_kinds() & set(_LOOK)
    return _by_status({HTTPStatus.OK: _response("The days, oldest first", CALENDAR)} | _errors(kinds))


def _grouped(kinds: Kinds) -> dict[int, list[type[RestoreError]]]:
    """Return errors by their HTTP status."""
    found: dict[int, list[type[RestoreError]]] = {}
    for kind in sorted(kinds, key=lambda kind: kind.code):
        found.setdefault(kind.status, []).append(kind)
    return dict(sorted(found.items()))


def _all_kinds() -> set[type[RestoreError]]:
    return set(_below(RestoreError)) - set(_NEVER_AN_ANSWER)


def _below(kind: type[RestoreError]) -> Iterator[type[RestoreError]]:
    for child in kind.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from _below(child)


def _by_status(responses: dict[int, Json]) -> Json:
    """Add the platform's own answers."""
    for status, text in meanings("answer.md", "The platform's own answers").items():
        said = f"The platform's own answer, without the JSON of the function: {text}."
        if int(status) in responses:
            responses[int(status)]["description"] += f"\n\n{said}"
            for header in responses[int(status)]["headers"].values():
                header["required"] = False
        else:
            responses[int(status)] = {"description": said}
    return {str(int(status)): response for status, response in sorted(responses.items())}


def _restored() -> Json:
    text = "The day is restored, or `status` says why nothing was written. Read `status`."
    return _response(text, ANSWER, _examples()[HTTPStatus.OK])


def _errors(kinds: Kinds) -> dict[int, Json]:
    responses = {}
    for status, group in _grouped(kinds).items():
        codes = "\n".join(f"- `{kind.code}`: {_first_sentence(kind)}" for kind in group)
        example = _examples().get(status)
        if example is not None and example["error"]["code"] not in {kind.code for kind in group}:
            example = None
        response = _response(f"One of these errors:\n\n{codes}", ERROR, example)
        response["headers"]["x-ms-error-code"] = {
            "description": "The same as `error.code`",
            "required": True,
            "schema": {"type": "string", "enum": [kind.code for kind in group]},
        }
        if status in WITH_RETRY_AFTER:
            response["headers"]["Retry-After"] = _seconds("After how many seconds the same request may be sent again")
        responses[status] = response
    return responses


def _response(description: str, schema: str, example: Any = None) -> Json:
    content: Json = {"schema": {"$ref": PLACE + schema}}
    if example is not None:
        content["example"] = example
    request_id = {
        "description": "The same as `request_id`: find the log line by it",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    return {
        "description": description,
        "headers": {"x-ms-request-id": request_id},
        "content": {"application/json": content},
    }


def _header(description: str) -> Json:
    return {"description": description, "required": True, "schema": {"type": "string"}}


def _seconds(description: str, *, required: bool = True) -> Json:
    return {"description": description, "required": required, "schema": {"type": "integer", "minimum": 1}}


@cache
def _examples() -> dict[int, Any]:
    """Return the examples of the page by status: that of a 200, or that of the error that it names."""
    statuses = {kind.code: kind.status for kind in _below(RestoreError)}
    return {
        statuses[body["error"]["code"]] if "error" in body else HTTPStatus.OK.value: body
        for _, body in examples("docs/answer.md")
    }


def _first_sentence(kind: type[RestoreError]) -> str:
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
