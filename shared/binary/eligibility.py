"""Decides whether a file may be copied in binary. Needs neither pyarrow nor pgpq: it runs before they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, TypeAlias

from shared.csvfile.head import clean_encoding_name
from shared.csvfile.options import CsvOptions
from shared.process import MIB
from shared.timescale.table import Column

Kind: TypeAlias = Literal[
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "boolean",
    "date",
    "timestamp",
    "timestamptz",
    "uuid",
    "text",
    "jsonb",
]

# By the type's number in the catalogue, which initdb gives (src/include/catalog/pg_type.dat). The server applies a
# modifier (length, precision) itself after it has read the binary form, by the same function as after the text form.
KINDS: dict[int, Kind] = {
    16: "boolean",
    20: "bigint",
    21: "smallint",
    23: "integer",
    25: "text",
    114: "text",  # json
    700: "real",
    701: "double precision",
    1042: "text",  # character
    1043: "text",  # character varying
    1082: "date",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2950: "uuid",
    3802: "jsonb",
}
# Size of the CSV from which binary is certainly faster, the import of the libraries included
# (docs/performance_binary.md).
FEWEST_BYTES = 16 * MIB

_LIBRARIES = ("pyarrow", "pgpq")
# The precision of Arrow's decimal128.
_MOST_DIGITS = 38
# Arrow does not recognize a marker of 32 KiB or more.
_LONGEST_NULL = 1024
_UTF8_NAMES = frozenset({"utf8", "unicode"})


class NotEncodable(Exception):
    """The file may be read differently from how PostgreSQL would read it, so it must be copied as text.

    The message holds no data, since psycopg2 sends it to the server, which logs it.
    """


def demand(*, holds: bool, what: str) -> None:
    """Raise NotEncodable unless a condition holds. `what` must not show data: it may reach the server's log."""
    if not holds:
        raise NotEncodable(what)


def not_plain(kind: Kind) -> str:
    """Return the reason for a value in a form that is copied only as text."""
    return f"not a plain {kind}"


def kind_of(column: Column) -> Kind | None:
    """Return how a column's type is written in binary.

    Returns:
        The kind; None if it is not proved that both forms agree: arrays, enums, domains, intervals and all others.
    """
    kind = KINDS.get(column.type_oid)
    if kind == "numeric" and (column.type_mod < 0 or not _fits(*precision_of(column))):
        return None
    return kind


def precision_of(column: Column) -> tuple[int, int]:
    """Return the precision and the scale of a `numeric` that has them.

    They are in its modifier as `make_numeric_typmod` puts them there (src/backend/utils/adt/numeric.c). From PostgreSQL
    15 on the scale has 11 bits and a sign; before, it is not negative.
    """
    packed = column.type_mod - 4
    return packed >> 16 & 0xFFFF, (packed & 0x7FF ^ 1024) - 1024


def _fits(digits: int, behind: int) -> bool:
    return 0 <= behind <= digits <= _MOST_DIGITS


def reason_for_text(
    columns: Sequence[Column], options: CsvOptions, *, server_encoding: str, csv_bytes: int | None = None
) -> str | None:
    """Return why the file must be copied as text, as far as is known before it is read.

    Args:
        columns: of the target, in the file's order.
        options: the request's csv options.
        server_encoding: the database's encoding, by PostgreSQL's name.
        csv_bytes: approximate length of the CSV; None if it does not matter.

    Returns:
        The reason, or None if there is none.
    """
    for library in _LIBRARIES:
        if find_spec(library) is None:
            return f"{library} is not installed"
    if csv_bytes is not None and csv_bytes < FEWEST_BYTES:
        return "the file is small"
    for column in columns:
        if kind_of(column) is None:
            return f'"{column.name}" is of type {column.type_sql}'
    return _against_options(len(columns), options, server_encoding)


def _against_options(columns: int, options: CsvOptions, server_encoding: str) -> str | None:
    if columns < 2:  # noqa: PLR2004
        # With one column an empty line is a row, and a line \. is a row or the end, depending on the server's version.
        return "the file has only one column"
    if options.delimiter in r"\." or options.quote == "\\":
        # Two cells can then form the line \. and a quote with a full stop can too; PostgreSQL before 18 stops at both.
        return "the DELIMITER is a backslash or a full stop, or the QUOTE a backslash"
    if len(options.null.encode()) > _LONGEST_NULL:
        return "the NULL marker is very long"
    if options.default is not None:
        return "DEFAULT is given"
    encodings = {name: clean_encoding_name(name) for name in (options.encoding, server_encoding)}
    other = [name for name, plain in encodings.items() if plain not in _UTF8_NAMES]
    return f"the encoding {other[0]} is not UTF8" if other else None
