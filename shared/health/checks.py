"""Checks whether the settings, the app's storage account and the database server can be used.

The lake is not checked. Writes nothing and shows no secret.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from shared.arrivals.rules import load_rules
from shared.errors import ConfigurationError, InternalError, RestoreError
from shared.jobs.storage import job_storage_if_any, reaching_storage
from shared.model.report import Report
from shared.postgres.endpoint import allowed_endpoint
from shared.restore.server import Server
from shared.restore.target_table import reading
from shared.settings import Settings, load_settings
from shared.timescale.table import find_timescaledb

CheckStatus: TypeAlias = Literal["ok", "failed", "skipped"]

# How long a result is kept for callers who only ask whether the app is well.
KEPT_SECONDS = 30
# A probe must not wait as long as a restore.
_MOST_CONNECT_SECONDS = 5
# Every server has it.
_ANY_DATABASE = "postgres"


@dataclass(frozen=True)
class Check:
    """What one look showed.

    Attributes:
        name: what was looked at.
        status: `skipped` where the settings name nothing to look at.
        facts: what it is: words and numbers without secrets.
        error: why it failed.
    """

    name: str
    status: CheckStatus
    facts: Mapping[str, str] = field(default_factory=dict)
    error: RestoreError | None = None


def look_at_all(request_id: str) -> tuple[Check, ...]:
    """Look at everything now.

    Args:
        request_id: names the session on the database server.
    """
    try:
        settings = load_settings()
    except ConfigurationError as error:
        return (Check("settings", "failed", error=error),)
    looks = (
        ("rules", lambda: _rules(settings)),
        ("queue", lambda: _part(settings, "queue")),
        ("tables", lambda: _part(settings, "tables")),
        ("blobs", lambda: _part(settings, "blobs")),
        ("database", lambda: _database(settings, request_id)),
    )
    return (Check("settings", "ok"), *(_looked(name, look) for name, look in looks))


def _looked(name: str, look: Callable[[], Mapping[str, str] | None]) -> Check:
    try:
        facts = look()
    except RestoreError as error:
        return Check(name, "failed", error=error)
    except Exception:  # noqa: BLE001 - a look that fails is an answer
        return Check(name, "failed", error=InternalError("the check itself failed, so its result is unknown"))
    return Check(name, "skipped") if facts is None else Check(name, "ok", facts)


def _rules(settings: Settings) -> Mapping[str, str] | None:
    return {"rules": str(len(load_rules(settings)))} if settings.restore_rules is not None else None


def _part(settings: Settings, part: str) -> Mapping[str, str] | None:
    """Look at a part of the app's own storage account."""
    storage = job_storage_if_any(settings)
    if storage is None:
        return None
    with reaching_storage():
        if part == "queue":
            return {"messages": str(storage.queue.get_queue_properties().approximate_message_count)}
        if part == "tables":
            next(iter(storage.table.list_entities(results_per_page=1)), None)
            next(iter(storage.days.list_entities(results_per_page=1)), None)
        else:
            storage.container.get_container_properties()
    return {}


def _database(settings: Settings, request_id: str) -> Mapping[str, str] | None:
    """Look at the server that the settings name, in the first database that may be restored into."""
    if settings.libpq.host is None:
        return None
    database = (settings.pg_allowed_databases or (_ANY_DATABASE,))[0]
    endpoint = allowed_endpoint({}, None, settings, database=database)
    patience = min(settings.pg_connect_timeout_seconds, _MOST_CONNECT_SECONDS)
    limits = ("pg_connect_timeout_seconds", "pg_statement_timeout_seconds", "pg_lock_timeout_seconds")
    # A session that is open already would not show whether the server still lets the role in.
    limited = settings.model_copy(update={**dict.fromkeys(limits, patience), "pg_idle_session_seconds": 0})
    with reading(Server.of(endpoint, limited, Report(request_id))) as cursor:
        cursor.execute("SELECT CURRENT_USER, pg_catalog.current_setting('server_version')")
        user, version = next(iter(cursor))
        found = find_timescaledb(cursor)
    facts = {"database": database, "user": str(user), "postgresql": str(version)}
    return facts | ({} if found is None else {"timescaledb": found.version, "edition": found.edition})


class LastResult:
    """The last result, for those who ask often: at most one look runs at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._result: tuple[float, bool] | None = None

    def is_well(self, request_id: str) -> bool:
        """Whether no check fails, by a result that is at most 30 seconds old.

        Anybody may ask, and a look may take a minute. While it runs, others get the result before it, so that they hold
        no thread of the host. They wait only before the first result.
        """
        known = self._result
        if not self._lock.acquire(blocking=known is None):
            return known is not None and known[1]
        try:
            if self._result is None or time.monotonic() - self._result[0] >= KEPT_SECONDS:
                well = is_well(look_at_all(request_id))
                # The time of its end counts: those who waited for it must not each look again.
                self._result = time.monotonic(), well
            return self._result[1]
        finally:
            self._lock.release()


def is_well(checks: tuple[Check, ...]) -> bool:
    """Whether nothing failed."""
    return all(check.status != "failed" for check in checks)


def shown(checks: tuple[Check, ...]) -> Iterator[dict[str, object]]:
    """Yield the checks as callers see them."""
    for check in checks:
        error = check.error
        yield {
            "name": check.name,
            "status": check.status,
            **check.facts,
            **({} if error is None else {"error": {"code": error.code, "message": error.message, "hint": error.hint}}),
        }
