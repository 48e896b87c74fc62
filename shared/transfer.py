"""The rows' way from the file into the target: by COPY, or by COPY and INSERT through a staging table."""

from __future__ import annotations

from shared.csv_source import CsvSource
from shared.database.connection import Cursor
from shared.database.load import Rejectable, copy_into, copy_into_staging, insert_staged, make_staging
from shared.errors import RowCountMismatch
from shared.lake.csv_count import rows_of
from shared.proof import Proof
from shared.report import Report
from shared.request import RestoreRequest
from shared.target import Target


def transfer(
    cursor: Cursor,
    request: RestoreRequest,
    target: Target,
    csv: CsvSource,
    report: Report,
    proof: Proof,
    *,
    show_row_data: bool,
) -> None:
    """Bring the rows into the target.

    Args:
        cursor: in the load's transaction.
        request: what is restored, and how.
        target: where the rows go.
        csv: the archive, unpacked.
        report: is told how many rows went which way.
        proof: looks at what is staged.
        show_row_data: whether an error may hold values of the row.

    Raises:
        RestoreError: PostgreSQL refused a row, or the rows are not those that were promised.
    """
    clock, options, plan = report.clock, request.copy_.csv_options, target.plan
    if request.destination.mode == "direct":
        with clock.stage("copy"), csv.opened() as reader:
            report.rows_loaded = copy_into(
                cursor, target.table.identifier, plan.file_columns, options, reader, show_row_data=show_row_data
            )
            report.waited_seconds = reader.waited_seconds
        _check_expected(request, report)
        return
    may_reject = None
    if request.copy_.max_rejected_rows is not None:
        may_reject = Rejectable(
            lambda: rows_of(csv.records or 0, has_header=options.has_header), request.copy_.max_rejected_rows
        )
    with clock.stage("copy"), csv.opened() as reader:
        staging = make_staging(cursor, target.table, target.like, plan.file_columns, report.request_id.replace("-", ""))
        copied = copy_into_staging(
            cursor,
            staging,
            options,
            reader,
            has_timescaledb=target.table.timescaledb is not None,
            may_reject=may_reject,
            show_row_data=show_row_data,
        )
        report.waited_seconds = reader.waited_seconds
    report.rows_loaded, report.rejected = copied.rows, copied.rejected
    if copied.rejected is not None and copied.rejected.rows:
        report.warn("RowsRejected", f"{copied.rejected.rows} rows could not be parsed and were left out")
    _check_expected(request, report)
    with clock.stage("verify"):
        proof.check_staged(cursor, staging.identifier)
    with clock.stage("insert"):
        report.rows_inserted = insert_staged(cursor, target.table, staging, plan.loaded, show_row_data=show_row_data)
        report.rows_skipped = report.rows_loaded - report.rows_inserted


def _check_expected(request: RestoreRequest, report: Report) -> None:
    expected = request.copy_.expected_rows
    if expected is not None and report.rows_read != expected:
        raise RowCountMismatch(f"the archive holds {report.rows_read} rows, but expected_rows is {expected}")
