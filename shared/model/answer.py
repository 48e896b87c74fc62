"""The types of the answer: the JSON of a 200 and of an error. `docs/answer.md` describes each field.

`api/render.py` builds these, and `tools/openapi.py` makes the schemas of `docs/openapi.json` from them. They are plain
types, so no schema and no validator is built when the function starts. They come from typing_extensions, since before
Python 3.12 Pydantic accepts no other TypedDict (https://errors.pydantic.dev/latest/u/typed-dict-version).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from shared.errors import RestoreError, Retry
from shared.model.request import OnExisting
from shared.model.results import CheckName, ChunkAction, Outcome, ReferenceAction, ReferringRows

BackfillOutcome: TypeAlias = Literal["ok", "ok_with_warnings"]
# A dry run and a skipped day have loaded nothing.
RestoreOutcome: TypeAlias = Literal["ok", "ok_with_warnings", "skipped", "dry_run"]


class DateWindow(TypedDict):
    """The archive's UTC day."""

    start: str
    end: str


class CountedRows(TypedDict):
    """The proof of a load: counts of the day's rows before and after it."""

    rows_before: int
    rows_after: int
    rows_loaded: int
    rows_outside_window: int
    min_time: str | int | None
    max_time: str | int | None


class Source(TypedDict):
    """The archive that was read."""

    path: str
    etag: str
    compressed_bytes: int
    csv_bytes: int | None


class IndexKept(TypedDict):
    """An index that was maintained row by row; if `index` is null, all of them."""

    index: str | None
    code: str
    reason: str


class CopyOutcome(TypedDict):
    """How the rows were copied."""

    transfer: Literal["spool", "stream"]
    format: Literal["text", "binary"]
    text_because: str | None
    indexes_deferred: list[str]
    indexes_kept: list[IndexKept]
    index_memory_bytes: int | None
    waited_seconds: float


class Outcomes(TypedDict, total=False):
    """The outcome of each request option of the same name."""

    decompress_window: Outcome
    recompress_window: Outcome
    compress_new_chunks: Outcome
    refresh_caggs: Outcome


class StepError(TypedDict):
    """Why a best-effort step failed. The rows are loaded nevertheless."""

    code: str
    message: str


class Failure(TypedDict, total=False):
    """The field that only a failed step has."""

    error: StepError


class ChunkOutcome(Failure):
    """An action on a chunk, and its outcome."""

    name: str
    action: ChunkAction
    outcome: Outcome


class CaggWindow(TypedDict):
    """A span of whole buckets of a continuous aggregate."""

    start: str | int
    end: str | int


class CaggOutcome(Failure):
    """The refresh of a continuous aggregate."""

    name: str
    window: CaggWindow | None
    outcome: Outcome


class PlannedChunk(TypedDict):
    """What a restore would do to a chunk that overlaps the day."""

    name: str
    is_compressed: bool
    would: list[str]


class PlannedCagg(Failure):
    """A continuous aggregate that would be refreshed, or why it would not be."""

    name: str
    window: CaggWindow | None


class LackingRight(TypedDict):
    """A right that the database role lacks. If it is not `needed`, only a best-effort step would fail."""

    right: str
    on: str
    needed: bool


class Problem(TypedDict):
    """An error with which the restore would fail."""

    code: str
    message: str


class ReferencedRow(TypedDict):
    """Rows that refer to the day's rows by a foreign key, directly or by way of another table."""

    table: str
    constraint: str
    action: ReferenceAction
    rows: int | None


class DryRunOutcome(TypedDict):
    """What a restore would do."""

    rows_in_archive: int
    rows_existing: int | None
    on_existing: OnExisting
    min_time: str | int | None
    max_time: str | int | None
    chunks: list[PlannedChunk]
    caggs: list[PlannedCagg]
    referenced_rows: list[ReferencedRow]
    permissions_missing: list[LackingRight]
    problems: list[Problem]
    checked: list[CheckName]
    not_checked: list[CheckName]


class WarningNote(TypedDict):
    """Something that the caller should know although the rows are loaded."""

    code: str
    message: str


class Occasional(TypedDict, total=False):
    """The fields that depend on the request: replace, on_error, dry_run."""

    rows_removed: int
    removed_by: Literal["truncate", "delete"]
    referenced_rows: list[ReferencedRow]
    rows_rejected: int
    rejected_lines: list[int]
    dry_run: DryRunOutcome


class Answer(Occasional):
    """The body of a 200."""

    status: RestoreOutcome
    database: str
    target_table: str
    date_window: DateWindow
    mode: Literal["direct", "staging"]
    columns_loaded: list[str]
    columns_ignored: list[str]
    columns_defaulted: list[str]
    rows_read: int | None
    rows_loaded: int | None
    rows_skipped: int | None
    verification: CountedRows | None
    source: Source
    copy: CopyOutcome | None
    edition: str | None
    timescaledb_version: str | None
    timescaledb: Outcomes
    chunks: list[ChunkOutcome]
    caggs: list[CaggOutcome]
    warnings: list[WarningNote]
    timings: dict[str, float]
    request_id: str


class Facts(TypedDict, total=False):
    """Further facts of a fault. Which ones it has depends on its kind."""

    sqlstate: str
    line: int
    column: str
    constraint: str
    chunk: str
    server_detail: str
    server_context: str
    storage_status: int
    storage_code: str
    storage_request_id: str
    role: str
    right: str
    request_id: str | None
    since: str | None
    pid: int | None
    user: str | None
    application_name: str | None
    rows: int
    lines: list[int]
    min_time: str | int | None
    max_time: str | int | None
    rows_before: int
    rows_after: int
    rows_in_archive: int
    rows_read: int
    rows_loaded: int
    referenced_rows: list[ReferencedRow]


class ErrorDetail(Facts):
    """One of the faults behind an error."""

    code: str
    message: str
    target: str | None


class ErrorBody(TypedDict):
    """What is wrong, and what to do about it."""

    code: str
    message: str
    target: str | None
    hint: str | None
    retryable: bool
    retry: Retry
    details: list[ErrorDetail]


class ErrorAnswer(TypedDict):
    """The body of an error."""

    status: Literal["error"]
    error: ErrorBody
    warnings: NotRequired[list[WarningNote]]
    request_id: str


def failure(error: RestoreError | None) -> Failure:
    """Return the field that says why a step failed, or nothing."""
    return {} if error is None else {"error": {"code": error.code, "message": error.message}}


def referenced_row(rows: ReferringRows) -> ReferencedRow:
    """Return rows that refer to the day's as the answer and the details of an error name them."""
    return {"table": rows.table, "constraint": rows.constraint, "action": rows.action, "rows": rows.rows}
