"""Takes an asynchronous restore: checks it, records it, puts its message into the queue."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from shared.api.parse import parse_for
from shared.errors import Fault, InvalidRequest, JobStorageUnreachable, OperationIdReused, SecretInAsyncRequest
from shared.jobs.enqueue import enqueue_new
from shared.jobs.keys import is_own_id
from shared.jobs.operation import OPERATION_ID, AskedOperation, RestoreOperation
from shared.jobs.storage import RESTORE_QUEUE, job_storage
from shared.jobs.store import Conflict, OperationStore
from shared.model.request import RestoreRequest
from shared.model.stamp import now
from shared.restore.access import authorize
from shared.settings import Settings
from shared.telemetry.trace import sending

A = TypeVar("A", bound=AskedOperation)

ID_HEADERS = ("Operation-Id", "Repeatability-Request-ID", "Idempotency-Key")
# A text in quotes, in which commas and semicolons are only characters (RFC 9110, section 5.6.4).
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MOST_TOKENS = 16

_INSTEAD = {
    "pg.password": "leave it out; the app settings PGPASSWORD or PG_AUTH hold the function's own way in",
    "pg.connection_uri": "leave its password out; the app settings PGPASSWORD or PG_AUTH hold the function's way in",
    "adls_url": "leave the SAS out; give the function's identity the role Storage Blob Data Reader, or set"
    " ADLS_CONNECTION_STRING",
}


@dataclass(frozen=True)
class Submitted(Generic[A]):
    """An operation that was taken, and a token that opens its result."""

    operation: A
    token: str


def wants_async(request: RestoreRequest, headers: Mapping[str, str]) -> bool:
    """Whether the caller does not want to wait. The field `async` overrides `Prefer` (RFC 7240)."""
    if request.async_ is not None:
        return request.async_
    # An empty value counts as none.
    prefer = _QUOTED.sub(lambda text: "" if text[0] == '""' else "text", headers.get("Prefer", ""))
    preferences = (one.partition(";")[0].strip() for one in prefer.split(","))
    return any(re.fullmatch(r"respond-async(?:\s*=)?", one, re.IGNORECASE) for one in preferences)


def submit(
    request: RestoreRequest, body: bytes, headers: Mapping[str, str], traceparent: str, settings: Settings
) -> Submitted[RestoreOperation]:
    """Take an asynchronous restore.

    The same request under an id that was used before is the same operation: it gets one more token, and nothing is
    restored twice.

    Raises:
        InvalidRequest: the id that the caller chose cannot be one.
        SecretInAsyncRequest: the request holds a secret.
        OperationIdReused: another request was sent under the same id.
        RestoreError: as `authorize`.
        JobStorageUnreachable: the app's own storage account cannot be reached.
    """
    operation_id = chosen_id(headers) or str(uuid.uuid4())
    refuse_secrets(request)
    endpoint = authorize(request, settings)
    asked = RestoreOperation(
        id=operation_id,
        request=stored_request(body),
        archive=request.archive.url,
        database=endpoint.database,
        target_table=str(request.target_table),
        day=request.archive.day.isoformat(),
        created=now(),
    )

    def is_same(other: RestoreOperation) -> bool:
        return parse_for(other.request.encode(), settings) == request.model_copy(update={"async_": None})

    return record(OperationStore(job_storage(settings), RestoreOperation), asked, traceparent, is_same)


def record(store: OperationStore[A], asked: A, traceparent: str, is_same: Callable[[A], bool]) -> Submitted[A]:
    """Create a record and put its message into the queue, unless the same was asked before.

    Args:
        store: of operations of this kind.
        asked: what is asked for, without a token and a trace context.
        traceparent: the trace context of the call; empty if there is none.
        is_same: whether an operation of the same id was asked for by the same request.

    Raises:
        OperationIdReused: it was not.
        JobStorageUnreachable: the app's own storage account cannot be reached.
    """
    token = secrets.token_urlsafe(32)
    with sending(traceparent, queue=RESTORE_QUEUE, operation_id=asked.id) as onward:
        operation, is_new = store.create(replace(asked, tokens=(hash_of(token),), traceparent=onward))
        if not is_new:
            if not is_same(operation):
                raise OperationIdReused(f"another request was sent as {operation.id} before")
            operation = add_token(store, operation, token)
        _enqueue(store, operation, is_new=is_new)
    return Submitted(operation, token)


def _enqueue(store: OperationStore[A], operation: A, *, is_new: bool) -> None:
    """Put in the message of an operation that needs one."""
    try:
        enqueue_new(store, operation)
    except JobStorageUnreachable:
        # The error tells the caller that nothing will be restored, so the record must go. A record of another call
        # stays: that call may have been answered. The sweep finds a record that stays.
        if is_new:
            # Not if another call took it meanwhile under the same id.
            with suppress(Conflict, JobStorageUnreachable):
                store.delete(operation)
        raise


def refuse_secrets(request: RestoreRequest) -> None:
    """Refuse a request with a secret.

    Raises:
        SecretInAsyncRequest: it has one.
    """
    for field in request.secrets:
        raise SecretInAsyncRequest(
            f"{field} holds a secret, which a queue would keep", target=field, hint=_INSTEAD[field]
        )


def chosen_id(headers: Mapping[str, str]) -> str | None:
    """Return the id that the caller chose by a header; None if there is none.

    Raises:
        InvalidRequest: it has characters or a length that no id has, is one that the function makes, or two headers
            differ.
    """
    found = {}
    for name in ID_HEADERS:
        value = headers.get(name)
        if value is not None:
            # A structured header has its string in quotes (draft-ietf-httpapi-idempotency-key-header).
            quoted = name == "Idempotency-Key" and len(value) > 1 and value[0] == value[-1] == '"'
            found[name] = value[1:-1] if quoted else value
    for name, value in found.items():
        if not OPERATION_ID.fullmatch(value):
            what = "must be 1 to 64 of the characters A-Z, a-z, 0-9, dot, hyphen and underscore, and not . or .."
            raise _bad_id(name, what)
        if is_own_id(value):
            raise _bad_id(name, "must not look like an id that a rule or a backfill gives to a restore")
    if len(set(found.values())) > 1:
        raise _bad_id(next(iter(found)), f"differs from {' and '.join(list(found)[1:])}")
    return next(iter(found.values()), None)


def _bad_id(header: str, what: str) -> InvalidRequest:
    message = f"the header {header} {what}"
    return InvalidRequest(message, target=header, details=[Fault("InvalidValue", message, header)])


def hash_of(token: str) -> str:
    """Return what a record keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def opens(operation: AskedOperation, token: str) -> bool:
    """Whether a token is one of the operation's. It takes the same time for any token."""
    given = hash_of(token)
    return any([hmac.compare_digest(given, kept) for kept in operation.tokens])  # noqa: C419 - all of them, always


def stored_request(body: bytes) -> str:
    """Return what a record keeps of a request."""
    document = json.loads(body)
    return json.dumps({name: value for name, value in document.items() if name != "async" and value is not None})


def add_token(store: OperationStore[A], operation: A, token: str) -> A:
    """Let a further token open the result of an operation; the last ones stay."""
    return store.update(operation, lambda one: {"tokens": (*one.tokens, hash_of(token))[-_MOST_TOKENS:]})
