"""When a waiting operation is tried, and the message that brings it to a worker then."""

from __future__ import annotations

from contextlib import suppress

from shared.errors import JobStorageUnreachable, RestoreError
from shared.jobs.message import Message
from shared.jobs.operation import Operation
from shared.jobs.store import Conflict, OperationStore
from shared.settings import Settings

_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 5, 300


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
    return min(_FIRST_DELAY_SECONDS << tries, _LONGEST_DELAY_SECONDS)


def enqueue(store: OperationStore, operation: Operation, *, delay_seconds: int = 0) -> None:
    """Put a message for a waiting operation into the queue, and note that it is there.

    If that note is not made, the sweep puts in another message: two are harmless.

    Raises:
        JobStorageUnreachable: the queue did not take it, as far as anybody knows.
    """
    message = Message(operation.id, operation.traceparent or None)
    store.enqueue(message.encode(), delay_seconds=delay_seconds)
    # It fails if a worker has it already, or a caller has canceled it.
    with suppress(Conflict, JobStorageUnreachable):
        store.change(operation, is_queued=True)
