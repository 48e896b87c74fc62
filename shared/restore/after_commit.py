"""Steps after the load's COMMIT, best effort: compress again, refresh. The rows are safe; a failure is a warning."""

from __future__ import annotations

from shared.load.load import Loaded
from shared.model.report import Report
from shared.model.request import RestoreRequest
from shared.model.results import CaggStep, ChunkStep, summary, warnings_of
from shared.postgres.connect import Connection
from shared.postgres.session import limit_session
from shared.settings import Settings
from shared.timescale.caggs import caggs_available, refresh
from shared.timescale.compression import recompress


def after_commit(
    connection: Connection, request: RestoreRequest, settings: Settings, loaded: Loaded, report: Report
) -> None:
    """Compress the chunks that were compressed before, and refresh what the request names.

    Args:
        connection: in autocommit.
        request: what is wished.
        settings: how long a step may take.
        loaded: what the load left to do.
        report: gets each outcome.
    """
    wishes, table, extension = request.timescaledb, loaded.target.table, loaded.target.compression
    with limit_session(
        connection,
        lock_timeout_seconds=settings.pg_lock_timeout_seconds,
        statement_timeout_seconds=settings.pg_statement_timeout_seconds,
    ):
        chunk_steps: list[ChunkStep] = []
        with report.progress.stage("recompress"):
            if wishes.recompress_window and extension is not None:
                chunk_steps = recompress(connection, extension, table, loaded.to_recompress)
        cagg_steps: list[CaggStep] = []
        with report.progress.stage("refresh"):
            if wishes.refresh_caggs:
                cagg_steps = refresh(connection, table, loaded.span, wishes.refresh_caggs)
    report.chunks += chunk_steps
    report.caggs += cagg_steps
    report.add_warnings(warnings_of([*chunk_steps, *cagg_steps]))
    report.options["recompress_window"] = summary(
        chunk_steps, requested=wishes.recompress_window, available=extension is not None and loaded.span is not None
    )
    report.options["refresh_caggs"] = summary(
        cagg_steps, requested=bool(wishes.refresh_caggs), available=caggs_available(table) and loaded.span is not None
    )
