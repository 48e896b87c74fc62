"""Handles an event about a blob: looks at the blob, finds its rule, and lets the queue restore it a little later."""

from __future__ import annotations

import logging

from shared.archive.stored import look_at
from shared.arrivals.events import read_event
from shared.arrivals.order import order
from shared.arrivals.rules import Rule, find_rule, load_rules
from shared.backfills.records import Records
from shared.backfills.worker import resume_group_of
from shared.errors import InvalidArchiveUrl, StorageHostNotAllowed
from shared.jobs.enqueue import enqueue
from shared.jobs.operation import DayOperation, RestoreOperation
from shared.jobs.storage import job_storage
from shared.jobs.store import Conflict, OperationStore, each_page
from shared.log_redaction import OUR_LOGGER
from shared.model.location import ArchiveLocation, parse_adls_url
from shared.model.stamp import stamp
from shared.settings import Settings, load_settings

_log = logging.getLogger(OUR_LOGGER)


def archive_arrived(text: bytes) -> None:
    """Work on one message of the queue `archive-events`.

    Args:
        text: of the message.

    Raises:
        UnreadableMessageError: it is not an event; the host will move it to the poison queue.
        ConfigurationError: the settings or the rules are wrong; the host will hand the message over again.
        StorageUnreachable, JobStorageUnreachable: an account cannot be reached; likewise.
        ArchiveError: storage does not let the function look at the file; likewise.
    """
    event = read_event(text)
    settings = load_settings()
    rules = load_rules(settings)
    if event is None:
        _log.info("an event of a kind that leads to no restore is dropped")
        return
    try:
        location = parse_adls_url(event.url)
    except (InvalidArchiveUrl, StorageHostNotAllowed) as error:
        _log.info("an event is dropped, since its file is not an archive: %s", error.message)
        return
    if event.kind == "online":
        # No rule has to match: the restore that waits may have been asked for by a caller.
        _resume(location, settings)
        return
    rule = find_rule(rules, location)
    if rule is None:
        _log.info("the event of %s is dropped: it matches no rule of RESTORE_RULES", location.url)
    else:
        _restore(rule, location, settings)


def _restore(rule: Rule, location: ArchiveLocation, settings: Settings) -> None:
    found = look_at(location, settings)
    if found is None:
        _log.info("rule=%s the event of %s is dropped: the file is gone", rule.name, location.url)
    elif not found.size and not found.copy_id:
        # `CreateFile` comes before the data. Its end, `FlushWithClose`, is an event of its own.
        _log.info("rule=%s the event of %s is dropped: the file is still empty", rule.name, location.url)
    else:
        order(rule, location, found, settings, delay_seconds=rule.delay_seconds)


def _resume(location: ArchiveLocation, settings: Settings) -> None:
    """Let restores go on that wait for a file to come back from the archive tier."""
    storage = job_storage(settings)
    store = OperationStore(storage, RestoreOperation)
    for operation in each_page(store, {"status": "NotStarted"}):
        if operation.archive == location.url and operation.waits:
            try:
                waiting = store.change(operation, next_attempt=stamp(store.service_time()), is_queued=False)
            except Conflict:
                # A worker has it already.
                continue
            _log.info("operation=%s goes on: its archive changed its access tier", operation.id)
            if isinstance(waiting, DayOperation):
                resume_group_of(waiting, Records.of(storage), settings)
            else:
                enqueue(store, waiting)
