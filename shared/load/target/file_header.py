"""Reads what precedes the file's rows: its header, or the lines that the request skips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.csvfile.format_hints import wide_encoding
from shared.csvfile.head import read_header, read_ignored_header, read_line
from shared.csvfile.preamble import NOT_SO_MANY_LINES
from shared.csvfile.source import CsvSource
from shared.errors import DataRejected, Fault, HeaderInvalid, HeaderMissing, RestoreError
from shared.load.target.columns import FileColumn, file_columns
from shared.model.request import Copy


@dataclass(frozen=True)
class FileHeader:
    """What precedes the file's rows.

    Attributes:
        columns: the file's columns.
        ignored: the fields of the line right before the rows, if nothing has shown that it is not a row; None: there is
            no such line.
        ignored_by: the field of the request that skips this line.
    """

    columns: tuple[FileColumn, ...]
    ignored: Sequence[str] | None = field(default=None, repr=False)
    ignored_by: str | None = None


def read_file_header(copy: Copy, csv: CsvSource) -> FileHeader:
    """Read what precedes the rows, as the request says what that is.

    Args:
        copy: the request's `copy`.
        csv: the file.

    Raises:
        HeaderMissing: the file ends before its header.
        HeaderInvalid: the header cannot be read, or the file is in an encoding that PostgreSQL does not have.
        HeaderMismatch: the header is another one than the request says.
        UnknownColumn: the request names a column that the header lacks.
        DataRejected: a file without a header is in such an encoding.
    """
    try:
        return _read(copy, csv)
    except HeaderMissing as exc:
        if not copy.skip_lines:
            raise
        message = f"nothing follows the {copy.skip_lines} lines that copy.skip_lines skips, so there is no header line"
        raise HeaderMissing(message, target="copy.skip_lines", hint=NOT_SO_MANY_LINES) from exc


def _read(copy: Copy, csv: CsvSource) -> FileHeader:
    dialect = copy.csv_options.dialect
    wide = wide_encoding(csv.preamble.beginning)
    if wide is not None:
        raise _not_in_postgresql(wide, has_header=copy.csv_options.has_header)
    if copy.header == "ignore":
        ignored = read_ignored_header(csv.head, dialect, len(copy.columns or ()))
        return FileHeader(file_columns(None, copy), ignored, "copy.header")
    if copy.csv_options.has_header:
        return FileHeader(file_columns(read_header(csv.head, dialect, copy.left_out), copy))
    skipped = read_line(csv.preamble.last, dialect)
    return FileHeader(file_columns(None, copy), skipped, "copy.skip_lines")


def _not_in_postgresql(encoding: str, *, has_header: bool) -> RestoreError:
    """Return the error for a file in an encoding that PostgreSQL does not have."""
    message = f"the file is {encoding}, which PostgreSQL does not have"
    hint = (
        "convert the file to UTF-8, and store that: gunzip < archive.csv.gz"
        f" | iconv -f {encoding} -t UTF-8 | gzip > converted.csv.gz"
    )
    target = "copy.csv_options.ENCODING"
    if has_header:
        return HeaderInvalid(message, target=target, hint=hint)
    return DataRejected(message, target=target, hint=hint, details=[Fault(DataRejected.code, message, target)])
