"""What the function answers, as types: the JSON of a 200 and that of an error. `docs/answer.md` describes each field.

`answer_body.py` builds these, and `tools/openapi.py` makes the schemas of `docs/openapi.json` of them. They are plain
types: no schema and no validator is made when the function starts. Pydantic reads TypedDict from typing_extensions only
before Python 3.12 (https://errors.pydantic.dev/latest/u/typed-dict-version).
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from shared.errors import RestoreError
from shared.model.results import ChunkAction, Outcome


class DateWindow(TypedDict):
    """The archive's UTC day."""

    start: str
    end: str


class CountedRows(TypedDict):
    """The proof of a load: the day's rows before it and after it."""

    rows_before: int
    rows_after: int
    rows_loaded: int
    rows_outside_window: int
    min_time: str | int | None
    max_time: str | int | None


class Source(TypedDict):
    """The archive as it was read."""

    path: str
    etag: str
    compressed_bytes: int
    csv_bytes: int | None


class IndexKept(TypedDict):
    """An index that was maintained row by row, or all of them where `index` is null."""

    index: str | None
    code: str
    reason: str


class CopyOutcome(TypedDict):
    """How the rows got in."""

    transfer: Literal["spool", "stream"]
    format: Literal["text", "binary"]
    text_because: str | None
    indexes_deferred: list[str]
    indexes_kept: list[IndexKept]
    waited_seconds: float


class Outcomes(TypedDict, total=False):
    """What became of the request's options of these names."""

    decompress_window: Outcome
    recompress_window: Outcome
    compress_new_chunks: Outcome
    refresh_caggs: Outcome


class StepError(TypedDict):
    """Why a best-effort step failed. The rows are in all the same."""

    code: str
    message: str


class Failure(TypedDict, total=False):
    """The part that only a step has that failed."""

    error: StepError


class ChunkOutcome(Failure):
    """Something that was done to a chunk."""

    name: str
    action: ChunkAction
    outcome: Outcome


class CaggWindow(TypedDict):
    """Whole buckets of a continuous aggregate."""

    start: str | int
    end: str | int


class CaggOutcome(Failure):
    """The refresh of a continuous aggregate."""

    name: str
    window: CaggWindow | None
    outcome: Outcome


class PlannedChunk(TypedDict):
    """What a restore would do to a chunk over the day."""

    name: str
    is_compressed: bool
    would: list[str]


class PlannedCagg(Failure):
    """A continuous aggregate that would be refreshed, or why it would not."""

    name: str
    window: CaggWindow | None


class LackingRight(TypedDict):
    """A right that the database role lacks. Where it is not `needed`, only a best-effort step would fail."""

    right: str
    on: str
    needed: bool


class Problem(TypedDict):
    """An error that the restore would answer with."""

    code: str
    message: str


class Plan(TypedDict):
    """What a restore would do."""

    rows_in_archive: int
    rows_existing: int | None
    on_existing: Literal["error", "append", "skip", "replace"]
    chunks: list[PlannedChunk]
    caggs: list[PlannedCagg]
    permissions_missing: list[LackingRight]
    problems: list[Problem]


class WarningNote(TypedDict):
    """Something that the caller should know although the rows are in."""

    code: str
    message: str


class Occasional(TypedDict, total=False):
    """The part of an answer that depends on the request: staging, replace, on_error, dry_run."""

    rows_inserted: int
    rows_skipped: int
    rows_removed: int
    removed_by: Literal["truncate", "delete"]
    rows_rejected: int
    rejected_lines: list[int]
    dry_run: Plan


class Answer(Occasional):
    """The body of a 200."""

    status: Literal["ok", "ok_with_warnings", "skipped", "dry_run"]
    database: str
    target_table: str
    date_window: DateWindow
    mode: Literal["direct", "staging"]
    columns_loaded: list[str]
    columns_ignored: list[str]
    columns_defaulted: list[str]
    rows_loaded: int | None
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
    """What a single fault may tell beside its message, by what kind of fault it is."""

    sqlstate: str
    line: int
    column: str
    constraint: str
    server_detail: str
    server_context: str
    role: str
    right: str
    rows: int
    lines: list[int]
    min_time: str | int | None
    max_time: str | int | None
    rows_before: int
    rows_after: int
    rows_in_archive: int
    rows_loaded: int
    rows_added: int


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
    details: list[ErrorDetail]


class ErrorAnswer(TypedDict):
    """The body of every answer that is not 200."""

    status: Literal["error"]
    error: ErrorBody
    request_id: str


def failure(error: RestoreError | None) -> Failure:
    """Return the part of a step's answer that says why it failed, or nothing."""
    return {} if error is None else {"error": {"code": error.code, "message": error.message}}
