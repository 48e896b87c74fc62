"""Steps after the load's COMMIT, best effort: compress again, refresh. The rows are safe; a failure is a warning."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.log_redaction import OUR_LOGGER
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import CaggStep, ChunkStep, Notice, summary, warnings_of
from shared.postgres.connect import Connection
from shared.postgres.timeouts import limit_session
from shared.restore.left import Left
from shared.settings import Settings
from shared.timescale.cagg_refresh import refresh
from shared.timescale.caggs import caggs_available
from shared.timescale.compression import compress_after_commit
from shared.timescale.needed_settings import session_settings_of
from shared.timescale.table import Table

_log = logging.getLogger(OUR_LOGGER)


@dataclass(frozen=True)
class PutOff:
    """What a day of a backfill leaves to others: aggregates are refreshed at the end of the whole.

    Attributes:
        recompress: whether its chunks are compressed again at the end of its group, whose days share them.
    """

    recompress: bool


def note_failure_after_commit(report: Report, error: Exception) -> None:
    """Log an error after the COMMIT, and add a warning. The rows are in, and no answer may say otherwise."""
    _log.error("restore request_id=%s failed after its commit", report.request_id, exc_info=error)
    report.warn("AfterCommitFailed", f"the rows are in, but what comes after failed: {type(error).__name__}")


def after_commit(
    connection: Connection,
    request: RestoreRequest,
    settings: Settings,
    table: Table,
    left: Left,
    report: Report,
    put_off: PutOff | None = None,
) -> None:
    """Compress the chunks that were compressed before, and refresh what the request names.

    Args:
        connection: in autocommit.
        request: what is asked for.
        settings: how long a step may take.
        table: the target.
        left: what the load left to do.
        report: gets each outcome.
        put_off: what others will do; None: nothing.
    """
    wishes, extension = request.timescaledb, table.compression
    with limit_session(connection, session_settings_of(settings)):
        chunk_steps: list[ChunkStep] = []
        with report.progress.stage("recompress"):
            if wishes.recompress_window and extension is not None:
                if put_off is not None and put_off.recompress:
                    chunk_steps = [ChunkStep(str(chunk), "recompress", "later") for chunk in left.to_recompress]
                else:
                    chunk_steps = compress_after_commit(connection, extension, table, left.to_recompress, "recompress")
        cagg_steps: list[CaggStep] = []
        left_out: tuple[Notice, ...] = ()
        with report.progress.stage("refresh"):
            if wishes.refresh_caggs and put_off is None:
                cagg_steps, left_out = refresh(connection, table, left.day, left.spans, wishes.refresh_caggs)
    report.chunks += chunk_steps
    report.caggs += cagg_steps
    report.add_warnings((*warnings_of([*chunk_steps, *cagg_steps]), *left_out))
    report.options["recompress_window"] = summary(
        chunk_steps, requested=wishes.recompress_window, available=extension is not None and left.day is not None
    )
    report.options["refresh_caggs"] = (
        "later"
        if wishes.refresh_caggs and put_off is not None
        else summary(
            cagg_steps, requested=bool(wishes.refresh_caggs), available=caggs_available(table) and left.day is not None
        )
    )
