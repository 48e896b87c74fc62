"""Reads a request for many days, and makes that of one day from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.api.parse import parse_as, parse_for
from shared.calendar.pattern import ArchivePattern, read_pattern
from shared.errors import Fault, InvalidRequest
from shared.model.backfill import BackfillRequest
from shared.model.request import OnExisting, RestoreRequest
from shared.settings import Settings

# Fields of the whole; the others are those of a restore.
_OF_THE_WHOLE = ("dates", "missing", "existing", "parallel", "on_failure", "dry_run")


@dataclass(frozen=True)
class Backfill:
    """A request that was checked.

    Attributes:
        request: its fields.
        pattern: of the archives.
        document: the request as JSON has it.
        settings: the function app's.
    """

    request: BackfillRequest
    pattern: ArchivePattern
    document: dict[str, Any]
    settings: Settings

    @property
    def parallel(self) -> int:
        """How many groups run at once."""
        return self.request.parallel or min(2, self.settings.backfill_max_parallel)

    def body_of(self, day: date, on_existing: OnExisting, *, compresses_new_chunks: bool = True) -> str:
        """Return the request for one day, as JSON.

        Args:
            day: the day.
            on_existing: what happens if it has rows.
            compresses_new_chunks: whether the request may say so for this day.
        """
        body = {name: value for name, value in self.document.items() if name not in _OF_THE_WHOLE and value is not None}
        body["adls_url"] = self.pattern.url(day)
        body["destination"] = (body.get("destination") or {}) | {"on_existing": on_existing}
        if not compresses_new_chunks:
            body["timescaledb"] = (body.get("timescaledb") or {}) | {"compress_new_chunks": False}
        return json.dumps(body)

    def request_of(self, day: date) -> RestoreRequest:
        """Return the request for one day.

        Raises:
            RestoreError: as `parse_for`.
        """
        existing = self.request.existing
        return parse_for(self.body_of(day, "replace" if existing == "stale" else existing).encode(), self.settings)


def parse_backfill(body: bytes, settings: Settings) -> Backfill:
    """Read and check a request for many days.

    Raises:
        RestoreError: as `parse_as` and `read_pattern`; what is wrong with the request for any one day.
        InvalidRequest: `parallel` is above `BACKFILL_MAX_PARALLEL`.
    """
    request = read_fields(body)
    most = settings.backfill_max_parallel
    if request.parallel is not None and request.parallel > most:
        message = f"must be {most} at most, as the setting BACKFILL_MAX_PARALLEL says"
        raise InvalidRequest(
            f"parallel: {message}", target="parallel", details=[Fault("InvalidValue", message, "parallel")]
        )
    backfill = read_backfill(body, settings)
    backfill.request_of(request.days[0])
    return backfill


def read_fields(body: bytes) -> BackfillRequest:
    """Read the fields of a request for many days. No setting affects this.

    Raises:
        RestoreError: as `parse_as`.
    """
    return parse_as(BackfillRequest, body, {})


def read_backfill(body: bytes, settings: Settings) -> Backfill:
    """Read a request that was checked before.

    Raises:
        RestoreError: as `read_fields` and `read_pattern`.
    """
    request = read_fields(body)
    return Backfill(request, read_pattern(request.adls_url, settings), json.loads(body), settings)
