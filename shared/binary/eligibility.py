"""What may go to the server in binary. Needs neither pyarrow nor pgpq: it is asked before they are loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, TypeAlias

from shared.csvfile.options import CsvOptions
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

# As `format_type` writes them. What a modifier asks for (length, precision) the server does itself after the
# binary form was read, by the same function as after the text form.
_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"smallint", "smallint"),
    (r"integer", "integer"),
    (r"bigint", "bigint"),
    (r"real", "real"),
    (r"double precision", "double precision"),
    (r"numeric\(\d+,\d+\)", "numeric"),
    (r"boolean", "boolean"),
    (r"date", "date"),
    (r"timestamp(\(\d\))? without time zone", "timestamp"),
    (r"timestamp(\(\d\))? with time zone", "timestamptz"),
    (r"uuid", "uuid"),
    (r"text|character varying(\(\d+\))?|character\(\d+\)|bpchar|json", "text"),
    (r"jsonb", "jsonb"),
)
# Where binary surely gains, unpacked, with the libraries' import (docs/performance_binary.md).
FEWEST_BYTES = 16 * 1024 * 1024

_LIBRARIES = ("pyarrow", "pgpq")
# The digits that Arrow's decimal128 holds.
_MOST_DIGITS = 38
# Arrow does not find one of 32 KiB and more.
_LONGEST_NULL = 1024
_UTF8_NAMES = frozenset({"utf8", "unicode"})


class NotEncodable(Exception):
    """Something in the file is not proved to be read as PostgreSQL reads it: the text way decides.

    The message holds nothing of the data, since psycopg2 sends it to the server, whose log shows it.
    """


def demand(*, holds: bool, what: str) -> None:
    """Raise NotExact unless it holds. `what` must not show the data: it may reach the server's log."""
    if not holds:
        raise NotEncodable(what)


def not_plain(kind: Kind) -> str:
    """Say that a value is in a form that goes the text way."""
    return f"not a plain {kind}"


def kind_of(type_sql: str) -> Kind | None:
    """Say how a type is written in binary.

    Args:
        type_sql: as PostgreSQL's `format_type` writes it.

    Returns:
        None where it is not proved that both forms agree: arrays, enums, domains, intervals and everything else.
    """
    kind = next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, type_sql)), None)
    return None if kind == "numeric" and not _fits(*precision_of(type_sql)) else kind


def precision_of(type_sql: str) -> tuple[int, int]:
    """Return how many digits a `numeric` has in all, and how many of them behind the point.

    Args:
        type_sql: `numeric(12,3)` for instance.
    """
    digits, behind = re.findall(r"\d+", type_sql)
    return int(digits), int(behind)


def _fits(digits: int, behind: int) -> bool:
    return behind <= digits <= _MOST_DIGITS


def reason_for_text(
    columns: Sequence[Column], options: CsvOptions, *, server_encoding: str, csv_bytes: int | None = None
) -> str | None:
    """Say what speaks against the binary way, before the file is looked at.

    Args:
        columns: of the target, in the file's order.
        options: the request's.
        server_encoding: of the database, PostgreSQL's name.
        csv_bytes: about how long the file is, unpacked; None where that does not matter.

    Returns:
        The reason, or None where nothing does.
    """
    for library in _LIBRARIES:
        if find_spec(library) is None:
            return f"{library} is not installed"
    if csv_bytes is not None and csv_bytes < FEWEST_BYTES:
        return "the file is small"
    for column in columns:
        if not column.is_builtin or kind_of(column.type_sql) is None:
            return f'"{column.name}" is of type {column.type_sql}'
    return _against_options(len(columns), options, server_encoding)


def _against_options(columns: int, options: CsvOptions, server_encoding: str) -> str | None:
    if columns < 2:  # noqa: PLR2004
        # An empty line is a row then, and a line \. is one or is the end, as the server's version has it.
        return "the file has one column only"
    if options.delimiter in r"\." or options.quote == "\\":
        # Two cells then make this line; or a quote and a full stop do, where PostgreSQL before 18 ends all the same.
        return "the DELIMITER is a backslash or a full stop, or the QUOTE a backslash"
    if len(options.null.encode()) > _LONGEST_NULL:
        return "the NULL marker is very long"
    if options.default is not None:
        return "DEFAULT is given"
    encodings = {name: _plain(name) for name in (options.encoding, server_encoding)}
    other = [name for name, plain in encodings.items() if plain not in _UTF8_NAMES]
    return f"the encoding {other[0]} is not UTF8" if other else None


def _plain(encoding: str) -> str:
    # As clean_encoding_name() in PostgreSQL's src/common/encnames.c.
    return "".join(c for c in encoding.lower() if c.isascii() and c.isalnum())
