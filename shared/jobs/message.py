"""The message of the queue `restore-requests`: which operation to work on. It holds no request and no secret.

A message is JSON in UTF-8, at most 64 KiB once it is in base64, which the Functions host expects by default
("messageEncoding" in https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue). The SDK's
policy encodes it, so a text here is the JSON itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shared.jobs.operation import OPERATION_ID
from shared.model.monitor import KINDS, Kind

VERSION = 1


class UnreadableMessageError(Exception):
    """A message that names no operation. The error says why, without the message's own text."""


@dataclass(frozen=True)
class Message:
    """What the queue hands over.

    Attributes:
        operation_id: of the record.
        kind: of the record.
        traceparent: the caller's trace context (https://www.w3.org/TR/trace-context/); None if there is none.
    """

    operation_id: str
    traceparent: str | None = None
    kind: Kind = "restore"

    def encode(self) -> str:
        """Return the message's text."""
        body = {"version": VERSION, "id": self.operation_id, "traceparent": self.traceparent, "kind": self.kind}
        return json.dumps({name: value for name, value in body.items() if value is not None})


def decode(text: bytes) -> Message:
    """Read a message; unknown fields are ignored.

    Raises:
        UnreadableMessageError: it is not a JSON object, or is of a newer version than this code.
    """
    try:
        body: Any = json.loads(text)
    except ValueError:
        raise UnreadableMessageError("it is not JSON") from None
    except RecursionError:
        raise UnreadableMessageError("it is nested too deeply") from None
    if not isinstance(body, dict):
        raise UnreadableMessageError("it is JSON, but not an object")
    version, operation_id, traceparent = (body.get(name) for name in ("version", "id", "traceparent"))
    if type(version) is not int or version < 1:
        raise UnreadableMessageError("it has no version")
    if version > VERSION:
        raise UnreadableMessageError(f"it is of a newer version than this code knows, which is {VERSION}")
    # Anything else than an id could put text of any length into the log.
    if not isinstance(operation_id, str) or not OPERATION_ID.fullmatch(operation_id):
        raise UnreadableMessageError("it names no operation")
    # Before backfills, a message named no kind.
    kind = body.get("kind", "restore")
    if kind not in KINDS:
        raise UnreadableMessageError("it names an operation of a kind that this code does not know")
    return Message(operation_id, traceparent if isinstance(traceparent, str) else None, kind)
