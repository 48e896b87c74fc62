"""Matches the file's columns with the table's. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from shared.csvfile.format_hints import delimiter_hint
from shared.csvfile.header_name import HeaderName
from shared.csvfile.options import CsvOptions
from shared.errors import Fault, HeaderMismatch, UnknownColumn
from shared.model.request import Copy
from shared.model.results import Notice
from shared.names import MAX_NAME_BYTES
from shared.timescale.table import Column

# How many columns a message names.
_MOST_NAMED = 10
# Quotes that programs put around a name: those of SQL, of MySQL and SQL Server, of a word processor.
_QUOTES = "\"'`[]\u2018\u2019\u201c\u201d"
# Letters, digits and the underscore.
_WORD = re.compile(r"\w+")
# The most blanks and quotes that a name in the file may have around a column's name.
_MOST_AROUND = 16


@dataclass(frozen=True)
class FileColumn:
    """A column of the file.

    Attributes:
        name: its name in the file; empty if it has none.
        column: the table's column of its values, after `column_map`; None: the map leaves it out.
    """

    name: HeaderName
    column: HeaderName | None

    @property
    def loaded_as(self) -> str | None:
        """The table's column of its values, as written; None: the map leaves it out."""
        return None if self.column is None else self.column.raw

    @property
    def shown(self) -> HeaderName:
        """What an answer calls it."""
        return self.name if self.column is None else self.column


@dataclass(frozen=True)
class ColumnPlan:
    """Where each column of the file goes.

    Attributes:
        file_columns: the column of the target, or of the table that staging is modeled on, of each of the file's, in
            the file's order; None: there is none, or `column_map` leaves it out. So no text of the file is among them.
        loaded: the `file_columns` that reach the target.
        ignored: the others, as an answer names them. Without a `column_map` that says so, only staging ignores columns.
        drifted: the `ignored` columns that the target does not have. The others are generated, or left out on purpose.
        defaulted: columns of the target that the file lacks; they get their default.
        by_staging: whether the rows go through a staging table: in staging mode, and where a column is left out.
    """

    file_columns: tuple[str | None, ...]
    loaded: tuple[str, ...]
    ignored: tuple[HeaderName, ...]
    drifted: tuple[HeaderName, ...]
    defaulted: tuple[str, ...]
    by_staging: bool

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Warnings of columns that are ignored without a request. A generated column is not lost, so it has none."""
        if not self.drifted:
            return ()
        message = f"the table lacks {_join(self.drifted)} of the file's columns: left out"
        if self.defaulted:
            message += (
                f"; the file lacks {_join(self.defaulted)} of the table's. If one of these was renamed, its values are"
                " left out: copy.column_map says which is which"
            )
        return (Notice("ColumnsIgnored", message),)


def file_columns(header: Sequence[HeaderName] | None, copy: Copy) -> tuple[FileColumn, ...]:
    """Return the file's columns with the table's names. A name that the request contains may be shown from here on.

    Args:
        header: the file's first record; None if it has no header.
        copy: the request's `copy`.

    Raises:
        HeaderMismatch: `copy.columns` differs from the header, or two columns would get the same name.
        UnknownColumn: `copy.column_map` names a column that the file lacks.
    """
    if header is None:
        header = [HeaderName(name, place) for place, name in enumerate(copy.columns or (), 1)]
        other_delimiter = None
    else:
        other_delimiter = delimiter_hint([name.raw for name in header], copy.csv_options.dialect)
    requested = {*(copy.columns or ()), *copy.column_map, *copy.column_map.values(), *_forced(copy.csv_options)}
    header = [name.marked(known=name.raw in requested) for name in header]
    names = [name.raw for name in header]
    if copy.columns is not None and list(copy.columns) != names:
        raise HeaderMismatch(
            f"copy.columns names {_join(copy.columns)}, but {_described(header)}",
            target="copy.columns" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter,
        )
    # The key "" stands for all columns without a name, whether the file has any or not.
    missing = [name for name in copy.column_map if name and name not in names]
    if missing:
        raise UnknownColumn(
            f"copy.column_map names {_join(missing)}, but {_described(header)}",
            target="copy.column_map" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter or "a key of column_map is a column of the file, its value a column of the table",
        )
    columns = tuple(FileColumn(name, _mapped(name, copy)) for name in header)
    times = Counter(column.loaded_as for column in columns if column.loaded_as is not None)
    # A header names each column once, so one of two stands in the map.
    doubles = sorted(name for name in times if times[name] > 1)
    if doubles:
        raise HeaderMismatch(f"after column_map the file has {_join(doubles)} twice", target="copy.column_map")
    return columns


def _mapped(name: HeaderName, copy: Copy) -> HeaderName | None:
    if name.raw not in copy.column_map:
        return name
    column = copy.column_map[name.raw]
    return None if column is None else replace(name, raw=column, is_known=True)


def _forced(options: CsvOptions) -> tuple[str, ...]:
    return (*options.force_null, *options.force_not_null)


def plan_columns(
    columns: Sequence[FileColumn],
    table_columns: Sequence[Column],
    like_columns: Sequence[Column] = (),
    *,
    options: CsvOptions,
    staging: bool,
) -> ColumnPlan:
    """Match the file's columns with the table's.

    Args:
        columns: the file's columns.
        table_columns: the target's columns.
        like_columns: those of the table that a staging table is modeled on, if it is another one.
        options: the request's csv options.
        staging: whether columns that the target does not accept may be ignored.

    Raises:
        UnknownColumn: the target does not accept a column of the file (in direct mode), or accepts none; a column is
            spelled almost like the target's (in either mode); `column_map` leaves out all columns; the csv options name
            a column that the file lacks.
        HeaderMismatch: HEADER is "match", and the header does not name the table's columns in order.
    """
    spelled = _Spellings(table_columns)
    columns = _beside(columns, spelled)
    names = tuple(column.loaded_as for column in columns if column.loaded_as is not None)
    if not names:
        raise UnknownColumn(
            "copy.column_map leaves out all of the file's columns",
            target="copy.column_map",
            hint="keep at least one column that the table has",
        )
    # As in PostgreSQL: without a column list, COPY uses all columns except generated ones.
    writable = [column.name for column in table_columns if not column.is_generated]
    other_delimiter = delimiter_hint([column.name.raw for column in columns], options.dialect)
    if options.header == "match" and list(names) != writable:
        raise HeaderMismatch(
            f"the table's columns are {_join(writable)}, but {_described([column.shown for column in columns])}",
            target="copy.csv_options.HEADER" if other_delimiter is None else "copy.csv_options.DELIMITER",
            hint=other_delimiter,
        )
    _check_forced(columns, options)
    known = {column.name for column in table_columns}
    refused = tuple(name for name in names if name not in writable)
    if refused:
        _refuse_unknown(columns, refused, table_columns, spelled, options=options, staging=staging)
    # FORCE_NULL and FORCE_NOT_NULL may name a column that no table has.
    kept = {*known, *(column.name for column in like_columns), *_forced(options)}
    return ColumnPlan(
        file_columns=tuple(column.loaded_as if column.loaded_as in kept else None for column in columns),
        loaded=tuple(name for name in names if name in writable),
        ignored=_named(columns, {None, *refused}),
        drifted=_named(columns, {*refused} - known),
        defaulted=tuple(name for name in writable if name not in names),
        by_staging=staging or len(names) < len(columns),
    )


class _Spellings:
    """The table's columns by how they are spelled.

    Each name is parsed once. A table may have 1,600 columns and a header as many; parsing both for each pair took half
    a minute.
    """

    def __init__(self, table_columns: Sequence[Column]) -> None:
        self._by_plain: dict[str, list[str]] = {}
        for column in table_columns:
            self._by_plain.setdefault(_spelled_plainly(column.name), []).append(column.name)

    def same_but_for_spelling(self, name: str) -> str | None:
        """Name the table's column that has this name except for case, blanks or quotes around it, or its encoding."""
        plain = _spelled_plainly(name)
        alike = self._by_plain.get(plain, []) if plain else []
        # Of two that differ in case only, the one that has the same.
        return next((other for other in alike if other in name), next(iter(alike), None))


def _beside(columns: Sequence[FileColumn], spelled: _Spellings) -> tuple[FileColumn, ...]:
    """Say which names may be shown, now that the table's are known.

    A name of the table may be shown, also if case, blanks or quotes differ. If at least half of the header's names are
    such names, the line is a header, and the words among the others are names too. It is not one if a name has a line
    break.
    """
    names = [column.name for column in columns]
    of_table = [_is_of_table(name, spelled) for name in names]
    is_header = 2 * sum(of_table) >= len(names) and not any(name.has_line_break for name in names)
    return tuple(
        replace(
            column,
            name=column.name.marked(known=is_known or (is_header and _is_word(column.name.raw))),
            column=column.column
            and column.column.marked(known=is_known or (is_header and _is_word(column.column.raw))),
        )
        for column, is_known in zip(columns, of_table, strict=True)
    )


def _is_of_table(name: HeaderName, spelled: _Spellings) -> bool:
    alike = spelled.same_but_for_spelling(name.raw)
    return alike is not None and len(name.raw) <= len(alike) + _MOST_AROUND


def _is_word(name: str) -> bool:
    return _WORD.fullmatch(name) is not None and len(name.encode()) <= MAX_NAME_BYTES


def _refuse_unknown(
    columns: Sequence[FileColumn],
    refused: Sequence[str],
    table_columns: Sequence[Column],
    spelled: _Spellings,
    *,
    options: CsvOptions,
    staging: bool,
) -> None:
    """Refuse columns that the target does not accept, unless they may be ignored.

    Args:
        columns: the file's columns.
        refused: those of their names that the target does not accept; at least one.
        table_columns: the target's columns.
        spelled: the same, by how they are spelled.
        options: the request's csv options.
        staging: whether such columns may be ignored.

    Raises:
        UnknownColumn: as `plan_columns`.
    """
    names = {column.loaded_as for column in columns} - {None}
    known = {column.name for column in table_columns}
    misspelled = [name for name in refused if name not in known and spelled.same_but_for_spelling(name)]
    is_maybe_a_row = not known & names
    if is_maybe_a_row and not misspelled:
        other_delimiter = delimiter_hint([column.name.raw for column in columns], options.dialect)
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
    named = _named(columns, {*(misspelled if misspelled and (staging or is_maybe_a_row) else refused)})
    faults = [Fault("UnknownColumn", _why_not(name, table_columns, spelled), str(name)) for name in named[:_MOST_NAMED]]
    raise UnknownColumn(
        f"the table does not accept {_join(named)} of the file's columns",
        target=str(named[0]),
        details=faults,
        hint="copy.column_map says which column of the file is which of the table's; if the file has no header, set"
        " copy.csv_options.HEADER to false and name copy.columns"
        if misspelled
        else None,
    )


def _check_forced(columns: Sequence[FileColumn], options: CsvOptions) -> None:
    names = {column.loaded_as for column in columns}
    for option, forced in (("FORCE_NULL", options.force_null), ("FORCE_NOT_NULL", options.force_not_null)):
        missing = [name for name in forced if name not in names and forced != ("*",)]
        if missing:
            raise UnknownColumn(
                f"{option} names {_join(missing)}, but {_described([column.shown for column in columns])}",
                target=f"copy.csv_options.{option}",
            )


def _why_not(name: HeaderName, table_columns: Sequence[Column], spelled: _Spellings) -> str:
    if any(column.name == name.raw for column in table_columns):
        return f"{name.quoted} is a generated column: PostgreSQL computes it"
    near = spelled.same_but_for_spelling(name.raw)
    if near is None and name.is_known:
        # A similar name would reveal a name that is not shown.
        near = next(iter(difflib.get_close_matches(name.raw, [column.name for column in table_columns], n=1)), None)
    shown = name.quoted if str(name) == name.raw else f"by the name of {name} of the file"
    return f"the table has no column {shown}" + (f'; did you mean "{near}"?' if near else "")


def _spelled_plainly(name: str) -> str:
    # Cf is invisible: a byte order mark in the middle of a joined file, a zero width space.
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    bare = visible.strip()
    while bare != (bare := bare.strip(_QUOTES).strip()):
        pass
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", bare).casefold())


def _named(columns: Sequence[FileColumn], some: Collection[str | None]) -> tuple[HeaderName, ...]:
    """Name some of the file's columns as an answer does, in the file's order."""
    return tuple(column.shown for column in columns if column.loaded_as in some)


def _described(header: Sequence[HeaderName]) -> str:
    """Describe the header; if none of its names may be shown, only by their number."""
    if any(name.is_known for name in header):
        return f"the file's columns are {_join(header)}"
    return f"none of them is one of the file's {len(header)} columns"


def _join(names: Sequence[str] | Sequence[HeaderName]) -> str:
    """List columns for a message, up to ten by name."""
    shown = ", ".join(name.quoted if isinstance(name, HeaderName) else f'"{name}"' for name in names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"
