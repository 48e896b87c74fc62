"""The metrics of restores: their number by outcome, rows, bytes, seconds by stage, and the wait in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from shared.errors import RestoreError
from shared.model.report import Report
from shared.telemetry.attributes import of_outcome, of_target
from shared.telemetry.sdk import SCOPE, guarded, is_loaded

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, MeterProvider

# The defaults of the SDK are made for milliseconds.
_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 14_400)


@dataclass(frozen=True)
class _Instruments:
    restores: Counter
    rows: Counter
    bytes: Counter
    stage_seconds: Histogram
    queue_seconds: Histogram


@cache
def _instruments_of(provider: MeterProvider) -> _Instruments:
    meter = provider.get_meter(SCOPE)

    def histogram(name: str, description: str) -> Histogram:
        return meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=_SECONDS
        )

    return _Instruments(
        meter.create_counter("restore.restores", unit="{restore}", description="Restores that ended, by outcome"),
        meter.create_counter("restore.rows", unit="{row}", description="Rows of restores that were committed"),
        meter.create_counter("restore.bytes", unit="By", description="Bytes of archives, as stored and decompressed"),
        histogram("restore.stage.duration", "How long a stage took, all attempts of one restore together"),
        histogram("restore.queue.wait", "How long a restore waited in the queue after it was due"),
    )


def count(report: Report, error: RestoreError | None) -> None:
    """Count one restore that has ended.

    Args:
        report: of it.
        error: why it failed; None if it did not.
    """
    if not is_loaded():
        return
    with guarded():
        _count(report, error)


def _count(report: Report, error: RestoreError | None) -> None:
    # Not at the top of the file: see shared/telemetry/sdk.py.
    from opentelemetry import metrics  # noqa: PLC0415

    to = _instruments_of(metrics.get_meter_provider())
    target = of_target(report)
    to.restores.add(1, target | of_outcome(report, error))
    rejected = None if report.rejected is None else report.rejected.rows
    rows = {
        "loaded": report.rows_loaded,
        "skipped": report.rows_skipped,
        "removed": report.rows_removed,
        "rejected": rejected,
    }
    for state, number in rows.items():
        if number:
            to.rows.add(number, target | {"restore.rows.state": state})
    for state, number in {"compressed": report.compressed_bytes, "csv": report.csv_bytes}.items():
        if number:
            to.bytes.add(number, target | {"restore.bytes.state": state})
    for stage, seconds in report.progress.seconds().items():
        to.stage_seconds.record(seconds, target | {"restore.stage": stage})
    if report.queued_seconds is not None:
        to.queue_seconds.record(report.queued_seconds, target)
