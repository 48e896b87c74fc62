"""Orders the restore of one version of one archive from the queue, once."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from shared.api.parse import parse_for
from shared.archive.stored import FoundArchive
from shared.arrivals.rules import Rule
from shared.errors import RestoreError
from shared.jobs.day_notes import RestoredDay, partition_of, read_days
from shared.jobs.enqueue import enqueue_new
from shared.jobs.keys import id_of_order
from shared.jobs.operation import RestoreOperation
from shared.jobs.storage import job_storage
from shared.jobs.store import OperationStore
from shared.log_redaction import OUR_LOGGER
from shared.model.location import ArchiveLocation
from shared.model.request import RestoreRequest
from shared.model.stamp import now, stamp
from shared.restore.access import authorize
from shared.settings import Settings

_log = logging.getLogger(OUR_LOGGER)


def order(
    rule: Rule, location: ArchiveLocation, found: FoundArchive, settings: Settings, *, delay_seconds: int
) -> None:
    """Put the restore of an archive into the queue, unless this version of it was ordered or restored before.

    A day whose restore is recorded with another version of the archive is replaced. Any other day is restored as the
    rule's request says; a rule that says nothing refuses a day that has rows.

    Args:
        rule: says how.
        location: the archive.
        found: its version.
        settings: name the app's own storage account.
        delay_seconds: how long the restore waits.

    Raises:
        ConfigurationError, JobStorageUnreachable: as `job_storage`.
    """
    request = parse_for(json.dumps(rule.body(location.url)).encode(), settings)
    database = _database(request, settings)
    last = read_days(settings, partition_of(database, str(request.target_table)), location.day, location.day)
    restored = last.get(location.day)
    if restored is not None and restored.restored_etag == found.etag:
        _log.info("rule=%s %s is restored already in this version", rule.name, location.url)
        return
    body = rule.body(location.url, **_changes(rule, found, restored))
    version = found.copy_id or found.etag
    store = OperationStore(job_storage(settings), RestoreOperation)
    begins = store.service_time() + timedelta(seconds=delay_seconds)
    operation = RestoreOperation(
        id=_id(rule, location, version),
        request=json.dumps(body),
        archive=location.url,
        database=database,
        target_table=str(request.target_table),
        day=location.day.isoformat(),
        created=now(),
        next_attempt=stamp(begins) if delay_seconds else "",
    )
    kept, is_new = store.create(operation)
    if is_new:
        _log.info("rule=%s operation=%s restores %s", rule.name, kept.id, location.url)
    else:
        _log.info("rule=%s %s was ordered before, as operation=%s", rule.name, location.url, kept.id)
    enqueue_new(store, kept, delay_seconds=delay_seconds)


def _database(request: RestoreRequest, settings: Settings) -> str:
    """Return the database of a restore. If it is not allowed, the restore is ordered all the same: that shows why."""
    try:
        return authorize(request, settings).database
    except RestoreError:
        return request.archive.database


def _changes(rule: Rule, found: FoundArchive, restored: RestoredDay | None) -> dict[str, Mapping[str, Any]]:
    """Return what an order adds to the rule's request."""
    changes: dict[str, Mapping[str, Any]] = {}
    if not found.copy_id:
        # The end of a copy changes the version.
        changes["copy"] = {"expected_etag": found.etag}
    is_restored = restored is not None and restored.restored_etag is not None
    # It is unknown which rows outside the day the previous restore loaded. With `verify` false, the rule says that
    # there are none.
    if is_restored and (rule.request.get("destination") or {}).get("rows_outside_window") != "allow":
        changes["destination"] = {"on_existing": "replace"}
    return changes


def _id(rule: Rule, location: ArchiveLocation, version: str) -> str:
    """Return the id of an order: the same for the same version of the same archive, by event or by timer."""
    return id_of_order(f"{rule.name}\n{location.url}\n{version}")
