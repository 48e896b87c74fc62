"""Reads the first rows of the file before it is loaded: whether there are any, and the unit of integer times."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import date
from typing import IO, Any

from shared.csvfile.head import read_records
from shared.errors import DataRejected, Fault, HeaderInvalid
from shared.model.request import Copy
from shared.model.window import is_written_time_of
from shared.timescale.table import Table

# How many rows may come before the first one whose integer time can be read.
_ROWS_LOOKED_AT = 100


def has_rows(names: Sequence[str | None], copy: Copy, file: IO[bytes]) -> bool:
    """Whether the file has rows, as far as its beginning shows.

    Args:
        names: the file's columns under the table's names; None: one that is left out.
        copy: the request's `copy`.
        file: the CSV.
    """
    try:
        return bool(_first_row(names, copy, file))
    except HeaderInvalid:
        # It cannot be read, and COPY will say why.
        return True


def _first_row(names: Sequence[str | None], copy: Copy, file: IO[bytes]) -> list[list[str]]:
    """Return a list with the first row; empty if the file has none."""
    header = int(copy.csv_options.has_header)
    first = read_records(file, copy.csv_options.dialect, header + 1)[header:]
    # A line `\.` alone ends the data before PostgreSQL 18; from 18 on COPY says what is wrong with it.
    return [] if first == [["\\."]] and len(names) > 1 else first


def sample_times(
    table: Table, names: Sequence[str | None], copy: Copy, file: IO[bytes], *, is_needed: bool
) -> tuple[list[int], bool]:
    """Read the first integer time, and say whether the file has rows.

    A row that PostgreSQL will refuse must not determine the time unit. A later row determines it, and COPY then reports
    the bad line.

    Args:
        table: has the time column.
        names: the file's columns under the table's names; None: one that is left out.
        copy: the request's `copy`.
        file: the CSV.
        is_needed: whether nothing else tells the unit.

    Raises:
        DataRejected: it is needed, and the first rows have none, since the first one cannot be read.
    """
    options = copy.csv_options
    header = read_records(file, options.dialect, 1) if options.has_header else []
    first = _first_row(names, copy, file)
    if not first:
        return [], False
    times = [] if table.time_column not in names else [names.index(table.time_column)]
    rows = first
    if not _integers(rows, len(names), times):
        with suppress(HeaderInvalid):
            rows = read_records(file, options.dialect, len(header) + _ROWS_LOOKED_AT)[len(header) :]
    found = _integers(rows, len(names), times)
    if not found and is_needed:
        _refuse_unreadable(header, first[0], names, times, copy)
    return found[:1], True


def columns_with_times(
    names: Sequence[str | None], asked: Collection[str], copy: Copy, file: IO[bytes], day: date
) -> list[str]:
    """List the columns whose first value in the file is a time of the day, as a number or as text.

    Args:
        names: the file's columns under the table's names; None: one that is left out.
        asked: the columns to look at.
        copy: the request's `copy`.
        file: the CSV.
        day: the archive's.
    """
    options = copy.csv_options
    header = int(options.has_header)
    try:
        rows = read_records(file, options.dialect, header + _ROWS_LOOKED_AT)[header:]
    except HeaderInvalid:
        rows = []  # COPY will say why
    found = []
    for place, name in enumerate(names):
        values = (row[place] for row in rows if len(row) == len(names) and row[place] not in ("", options.null))
        if name is not None and name in asked and is_written_time_of(next(values, ""), day):
            found.append(name)
    return found


def _integers(rows: Sequence[Sequence[str]], columns: int, times: Sequence[int]) -> list[int]:
    """Return the times of those rows in which they can be read."""
    found = []
    for row in rows:
        for place in times if len(row) == columns else ():
            with suppress(ValueError):
                found.append(int(row[place]))
    return found


def _refuse_unreadable(
    header: Sequence[Sequence[str]],
    row: Sequence[str],
    names: Sequence[str | None],
    times: Sequence[int],
    copy: Copy,
) -> None:
    # Counts lines as COPY does: those inside quotes too, and a record has the number of its last line.
    records = [*header, row]
    line = copy.skip_lines + len(records)
    line += sum(max(cell.count("\n"), cell.count("\r")) for record in records for cell in record)
    where = f"line {line}"
    facts: dict[str, Any] = {"line": line}
    if len(row) != len(names):
        message = f"the row has {len(row)} fields, and the file {len(names)} columns"
    elif times and row[times[0]] != copy.csv_options.null:
        column = names[times[0]]
        where = f"{where}, column {column}"
        facts["column"] = column
        message = "the time is not an integer"
    else:
        return
    detail = Fault(DataRejected.code, message, info=tuple(facts.items()))
    raise DataRejected(f"{where}: {message}", target=where, details=[detail])
