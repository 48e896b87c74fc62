"""Takes care of what no worker will finish: operations of workers that died, and messages in the poison queue."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import TypeVar

from shared.errors import OperationNotFound
from shared.jobs.day_notes import note_without_worker, try_to_write_day
from shared.jobs.enqueue import enqueue
from shared.jobs.message import UnreadableMessageError, decode
from shared.jobs.operation import ENDED, STALE_SECONDS, TYPES, BackfillOperation, Operation, PartOfBackfill
from shared.jobs.storage import job_storage, job_storage_if_any
from shared.jobs.store import Conflict, OperationStore, each_page
from shared.jobs.transitions import given_up, update, waiting
from shared.log_redaction import OUR_LOGGER
from shared.model.stamp import stamp
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)

R = TypeVar("R", bound=Operation)


def sweep() -> None:
    """Put operations whose worker is gone, or whose message is lost, back into the queue; delete old records.

    It may run twice at once: each step is a write under the record's ETag.

    Raises:
        ConfigurationError: the settings are wrong.
        JobStorageUnreachable: the app's own storage account cannot be reached; the next run does the same.
    """
    settings = load_settings()
    storage = job_storage_if_any(settings)
    if storage is None:
        return
    for type_ in TYPES.values():
        store = OperationStore(storage, type_)
        _mend(store)
        _delete_old(store, OperationStore(storage, BackfillOperation), settings)


def _mend(store: OperationStore[R]) -> None:
    for operation in each_page(store, {"status": "Running"}):
        # A backfill whose groups run has no worker of its own.
        if operation.claim and operation.is_stale:
            _take_from_worker(store, operation)
    waiting = [one for one in each_page(store, {"status": "NotStarted"}) if one.is_stale and not one.is_held]
    if waiting:
        is_empty = store.queue_is_empty()
        for operation in waiting:
            # A message may be lost if its worker died before the note that it is in the queue, or if the queue was
            # cleared.
            if not operation.is_queued or (is_empty and not _is_to_wait(operation)):
                _log.warning("operation=%s has no message; it gets another", operation.id)
                enqueue(store, operation)


def end_poisoned(text: bytes) -> None:
    """End an operation whose message the host gave up.

    Args:
        text: of the message, as it came from the poison queue.

    Raises:
        ConfigurationError: the settings are wrong.
        JobStorageUnreachable: the app's own storage account cannot be reached; the host will hand the message over
            again.
    """
    try:
        message = decode(text)
    except UnreadableMessageError as error:
        _log.error("a message in the poison queue cannot be read: %s; it is dropped", error)
        return
    settings = load_settings()
    store = OperationStore(job_storage(settings), TYPES[message.kind])
    try:
        found = store.get(message.operation_id)
        operation = update(store, found, given_up)
    except OperationNotFound:
        _log.error("operation=%s in the poison queue is not recorded", message.operation_id)
        return
    _log.error("operation=%s in the poison queue is %s now", operation.id, operation.status)
    try_to_write_day(settings, note_without_worker(settings, found, operation))
    # A message for a held operation would be dropped, and the note that it has one would be wrong later.
    if operation.status == "NotStarted" and not operation.is_held:
        enqueue(store, operation)


def _take_from_worker(store: OperationStore[R], operation: R) -> None:
    _log.warning("operation=%s has had no heartbeat for %d s", operation.id, STALE_SECONDS)
    try:
        released = store.change(
            operation,
            **waiting(
                crashes=operation.crashes + 1, next_attempt=stamp(store.service_time()), **operation.loss_changes()
            ),
        )
    except Conflict:
        # The worker lives, or another sweep was here.
        return
    if not released.is_held:
        enqueue(store, released)


def _is_to_wait(operation: Operation) -> bool:
    """Whether its next attempt is in the future. The queue hides the message until then."""
    return operation.read is not None and operation.next_attempt > stamp(operation.read)


def _delete_old(store: OperationStore[R], backfills: OperationStore[BackfillOperation], settings: Settings) -> None:
    oldest_kept = store.service_time() - timedelta(days=settings.job_retention_days)

    @cache
    def is_known(backfill_id: str) -> bool:
        try:
            backfills.get(backfill_id)
        except OperationNotFound:
            return False
        return True

    for status in ENDED:
        for operation in each_page(store, {"status": status}, written_before=oldest_kept):
            if isinstance(operation, PartOfBackfill) and is_known(operation.backfill):
                # A backfill may run for longer, and each of its days is a part of its outcome.
                continue
            with suppress(Conflict):
                store.delete(operation)
