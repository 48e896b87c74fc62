"""Matches the file's columns with the table's. Pure."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shared.csvfile.options import CsvOptions
from shared.csvfile.signs import delimiter_hint
from shared.errors import Fault, HeaderMismatch, UnknownColumn
from shared.model.request import Copy
from shared.model.results import Notice
from shared.names import shown_name
from shared.timescale.table import Column

# Columns named in a message.
_MOST_NAMED = 10
# What programs put around a name: SQL's quotes, those of MySQL and SQL Server, those of a word processor.
_QUOTES = "\"'`[]\u2018\u2019\u201c\u201d"


@dataclass(frozen=True)
class FileColumn:
    """A column of the file.

    Attributes:
        name: its name in the file; empty if it has none.
        column: the table's column of its values, after `column_map`; None: the map leaves it out.
    """

    name: str
    column: str | None


@dataclass(frozen=True)
class FileHeader:
    """What precedes the file's rows.

    Attributes:
        columns: the file's columns.
        ignored: the fields of the line right before the rows, if nothing has shown that it is no row; None: there is no
            such line.
        ignored_by: the field of the request that skips this line.
    """

    columns: tuple[FileColumn, ...]
    ignored: Sequence[str] | None = None
    ignored_by: str | None = None


@dataclass(frozen=True)
class ColumnPlan:
    """Where each column of the file goes.

    Attributes:
        file_columns: the table's column of each of the file's, in the file's order; None: `column_map` leaves it out.
        loaded: the `file_columns` that reach the target.
        ignored: the others, as an answer names them. Without a `column_map` that says so, only staging ignores columns.
        drifted: the `ignored` columns that the target does not have. The others are generated, or left out on purpose.
        defaulted: columns of the target that the file lacks; they get their default.
        by_staging: whether the rows go through a staging table: in staging mode, and where a column is left out.
    """

    file_columns: tuple[str | None, ...]
    loaded: tuple[str, ...]
    ignored: tuple[str, ...]
    drifted: tuple[str, ...]
    defaulted: tuple[str, ...]
    by_staging: bool

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What the caller should know of columns that are ignored unasked. A generated one is not lost: no warning."""
        if not self.drifted:
            return ()
        message = f"the table lacks {_join(self.drifted)} of the file's columns: left out"
        if self.defaulted:
            message += (
                f"; the file lacks {_join(self.defaulted)} of the table's. If one of these was renamed, its values are"
                " left out: copy.column_map says which is which"
            )
        return (Notice("ColumnsIgnored", message),)


def file_columns(header: Sequence[str] | None, copy: Copy) -> tuple[FileColumn, ...]:
    """Return the file's columns with the table's names.

    Args:
        header: the file's first record; None if it has no header.
        copy: the request's `copy`.

    Raises:
        HeaderMismatch: `copy.columns` differs from the header, or two columns would get the same name.
        UnknownColumn: `copy.column_map` names a column that the file lacks.
    """
    names = tuple(header if header is not None else copy.columns or ())
    other_delimiter = delimiter_hint(names, copy.csv_options.dialect) if header is not None else None
    if header is not None and copy.columns is not None and tuple(copy.columns) != names:
        raise HeaderMismatch(
            f"copy.columns names {_join(copy.columns)}, but {_header(names, copy.columns)}",
            target="copy.columns" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter,
        )
    # The key "" stands for all columns without a name, be there any or not.
    missing = [name for name in copy.column_map if name and name not in names]
    if missing:
        raise UnknownColumn(
            f"copy.column_map names {_join(missing)}, but {_header(names, copy.column_map)}",
            target="copy.column_map" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter or "a key of column_map is a column of the file, its value a column of the table",
        )
    columns = tuple(FileColumn(name, copy.column_map.get(name, name)) for name in names)
    times = Counter(column.column for column in columns if column.column is not None)
    doubles = sorted(name for name in times if times[name] > 1)
    if doubles:
        raise HeaderMismatch(f"after column_map the file has {_join(doubles)} twice", target="copy.column_map")
    return columns


def plan_columns(
    columns: Sequence[FileColumn], table_columns: Sequence[Column], *, options: CsvOptions, staging: bool
) -> ColumnPlan:
    """Match the file's columns with the table's.

    Args:
        columns: the file's columns.
        table_columns: the target's columns.
        options: the request's csv options.
        staging: whether columns that the target does not accept may be ignored.

    Raises:
        UnknownColumn: the target does not accept a column of the file (in direct mode), or accepts none; a column is
            spelled almost like the target's (in either mode); `column_map` leaves out all columns; the csv options name
            a column that the file lacks.
        HeaderMismatch: HEADER is "match", and the header does not name the table's columns in order.
    """
    names = tuple(column.column for column in columns if column.column is not None)
    if not names:
        raise UnknownColumn(
            "copy.column_map leaves out all of the file's columns",
            target="copy.column_map",
            hint="keep at least one column that the table has",
        )
    # As in PostgreSQL: without a column list, COPY uses all columns except generated ones.
    writable = [column.name for column in table_columns if not column.is_generated]
    other_delimiter = delimiter_hint([column.name for column in columns], options.dialect)
    if options.header == "match" and list(names) != writable:
        raise HeaderMismatch(
            f"the table's columns are {_join(writable)}, but {_header(names, writable)}",
            target="copy.csv_options.HEADER" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter,
        )
    _check_forced(names, options, writable)
    known = {column.name for column in table_columns}
    refused = tuple(name for name in names if name not in writable)
    if refused:
        _refuse_unknown(columns, refused, table_columns, options=options, staging=staging)
    return ColumnPlan(
        file_columns=tuple(column.column for column in columns),
        loaded=tuple(name for name in names if name in writable),
        ignored=_shown(columns, {None, *refused}),
        drifted=_shown(columns, {*refused} - known),
        defaulted=tuple(name for name in writable if name not in names),
        by_staging=staging or len(names) < len(columns),
    )


def _refuse_unknown(
    columns: Sequence[FileColumn],
    refused: Sequence[str],
    table_columns: Sequence[Column],
    *,
    options: CsvOptions,
    staging: bool,
) -> None:
    """Refuse columns that the target does not accept, unless they may be ignored.

    Args:
        columns: the file's columns.
        refused: those of their names that the target does not accept; at least one.
        table_columns: the target's columns.
        options: the request's csv options.
        staging: whether such columns may be ignored.

    Raises:
        UnknownColumn: as `plan_columns`.
    """
    names = {column.column for column in columns} - {None}
    known = {column.name for column in table_columns}
    misspelled = [name for name in refused if name not in known and _same_but_for_spelling(name, table_columns)]
    is_maybe_a_row = not known & names
    if is_maybe_a_row and not misspelled:
        # No name in common: the header may be a row, so the message repeats no value.
        other_delimiter = delimiter_hint([column.name for column in columns], options.dialect)
        target = "copy.columns" if options.header is False else "copy.csv_options.HEADER"
        raise UnknownColumn(
            f"none of the file's {len(columns)} columns is one of the table's",
            target=target if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter
            or "if the file has no header, set copy.csv_options.HEADER to false and name copy.columns;"
            " if its columns have other names, map them with copy.column_map",
        )
    if not misspelled and staging and len(refused) < len(names):
        return
    # Staging omits columns that the table lacks. A misspelled column is not omitted, since its values belong in an
    # existing column.
    named = misspelled if staging or is_maybe_a_row else list(refused)
    shown = _shown(columns, {*named})
    faults = [
        Fault("UnknownColumn", _why_not(name, as_shown, table_columns), as_shown)
        for name, as_shown in list(zip(named, shown, strict=True))[:_MOST_NAMED]
    ]
    raise UnknownColumn(
        f"the table does not accept {_join(shown)} of the file's columns",
        target=shown[0],
        details=faults,
        hint="copy.column_map says which column of the file is which of the table's; if the file has no header, set"
        " copy.csv_options.HEADER to false and name copy.columns"
        if misspelled
        else None,
    )


def _check_forced(names: Sequence[str], options: CsvOptions, writable: Sequence[str]) -> None:
    for option, forced in (("FORCE_NULL", options.force_null), ("FORCE_NOT_NULL", options.force_not_null)):
        missing = [name for name in forced if name not in names and forced != ("*",)]
        if missing:
            raise UnknownColumn(
                f"{option} names {_join(missing)}, but {_header(names, (*writable, *forced))}",
                target=f"copy.csv_options.{option}",
            )


def _why_not(name: str, as_shown: str, table_columns: Sequence[Column]) -> str:
    if any(column.name == name for column in table_columns):
        return f'"{as_shown}" is a generated column: PostgreSQL computes it'
    known = [column.name for column in table_columns]
    alike = _same_but_for_spelling(name, table_columns)
    near = alike or next(iter(difflib.get_close_matches(name, known, n=1)), None)
    return f'the table has no column "{as_shown}"' + (f'; did you mean "{near}"?' if near else "")


def _same_but_for_spelling(name: str, table_columns: Sequence[Column]) -> str | None:
    """Name the table's column that has this name except for case, blanks or quotes around it, or how it is encoded."""
    alike = [column.name for column in table_columns if _spelled_plainly(column.name) == _spelled_plainly(name) != ""]
    # Of two that differ in case only, the one that has the same.
    return next((other for other in alike if other in name), next(iter(alike), None))


def _spelled_plainly(name: str) -> str:
    # Cf is what nobody sees: a byte order mark in the middle of a joined file, a zero width space.
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    bare = visible.strip()
    while bare != (bare := bare.strip(_QUOTES).strip()):
        pass
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold())


def _shown(columns: Sequence[FileColumn], some: Collection[str | None]) -> tuple[str, ...]:
    """Name some of the file's columns as an answer does, in the file's order: a name in the file may be long."""
    return tuple(
        shown_name(column.name if column.column is None else column.column, place)
        for place, column in enumerate(columns, 1)
        if column.column in some
    )


def _header(names: Sequence[str], expected: Iterable[str]) -> str:
    """Describe the header, without its names if none was expected: then it may be a row."""
    if set(names) & set(expected):
        return f"the file's columns are {_join([shown_name(name, place) for place, name in enumerate(names, 1)])}"
    return f"none of them is one of the file's {len(names)} columns"


def _join(names: Sequence[str]) -> str:
    """List columns for a message, up to ten by name."""
    shown = ", ".join(f'"{name}"' for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
