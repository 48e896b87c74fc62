"""Decides when a waiting operation is tried again, and sends the message that brings it to a worker."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from shared.api.render import error_answer
from shared.errors import CommitOutcomeUnknown, JobStorageUnreachable, RestoreCanceled, RestoreError
from shared.jobs.claim import Claim
from shared.jobs.message import Message
from shared.jobs.operation import Operation
from shared.jobs.store import Conflict, OperationStore
from shared.jobs.transitions import waiting
from shared.log_redaction import OUR_LOGGER
from shared.model.stamp import stamp
from shared.settings import Settings

_log = logging.getLogger(OUR_LOGGER)

R = TypeVar("R", bound=Operation)

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 5, 300


def delay_seconds(error: RestoreError, operation: Operation, settings: Settings) -> int | None:
    """Return how long an operation waits until it is tried again after an error; None: it is not."""
    tries = operation.waits if error.retry_delay_seconds is not None else operation.retries
    if error.retry == "fix" or (error.most_retries is not None and tries >= error.most_retries):
        return None
    if error.retry_delay_seconds is not None:
        return error.retry_delay_seconds
    if tries + 1 >= settings.job_max_attempts:
        return None
    if error.retry == "now" and not tries:
        return 0
    return min(FIRST_DELAY_SECONDS << tries, LONGEST_DELAY_SECONDS)


def try_again(claim: Claim[R], store: OperationStore[R], settings: Settings, error: RestoreError, **more: Any) -> bool:
    """Let a claimed operation wait for its next attempt if its error may pass, and it was not tried too often.

    An operation that is held gets no message: its group looks at `next_attempt`.

    Args:
        claim: of the operation.
        store: holds it.
        settings: the function app's.
        error: with which the attempt failed.
        more: further attributes to write if it waits.

    Returns:
        Whether it waits. If not, the caller must end it.

    Raises:
        ClaimLost, JobStorageUnreachable: as `Claim.write`.
    """
    operation = claim.operation
    if isinstance(error, RestoreCanceled) or (operation.is_to_end and not isinstance(error, CommitOutcomeUnknown)):
        return False
    delay = delay_seconds(error, operation, settings)
    if delay is None:
        return False
    is_waiting = error.retry_delay_seconds is not None
    counted = {"waits": operation.waits + 1} if is_waiting else {"retries": operation.retries + 1}
    released = claim.write_patiently(
        **waiting(
            **counted,
            **more,
            error=json.dumps(error_answer(error, "")["error"]),
            next_attempt=stamp(store.service_time() + timedelta(seconds=delay)),
        )
    )
    _log.info("operation=%s attempt=%d waits for %d s: %s", released.id, released.attempt, delay, error.code)
    if not released.is_held:
        enqueue(store, released, delay_seconds=delay)
    return True


def enqueue_new(store: OperationStore[R], operation: R, *, delay_seconds: int = 0) -> None:
    """Send the first message of an operation, unless it has one, or was tried, or has ended.

    Creating a record and sending its message are two steps: if the second failed, sending the request again repairs it.

    Raises:
        JobStorageUnreachable: as `enqueue`. The record stays, and the sweep finds it.
    """
    if not operation.is_queued and operation.status == "NotStarted" and not operation.attempt:
        enqueue(store, operation, delay_seconds=delay_seconds)


def enqueue(store: OperationStore[R], operation: R, *, delay_seconds: int = 0) -> None:
    """Put a message for a waiting operation into the queue, and note that it is there.

    If that note fails, the sweep sends another message: two messages are harmless.

    Raises:
        JobStorageUnreachable: the queue did not take the message, as far as is known.
    """
    message = Message(operation.id, operation.traceparent or None, operation.kind)
    store.enqueue(message.encode(), delay_seconds=delay_seconds)
    # It fails if a worker has it already, or a caller has canceled it.
    with suppress(Conflict, JobStorageUnreachable):
        store.change(operation, is_queued=True)
