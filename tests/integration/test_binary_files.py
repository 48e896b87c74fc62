"""Files of every shape by both ways into the same server: what goes binary is what the text way loads, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from shared.csvfile.options import CsvOptions
from shared.timescale.table import Column
from tests.binary_values import ODD, PLAIN, TYPES, quoted
from tests.integration.fix_binary import BothWays, columns_of

pytestmark = pytest.mark.any_server

File: TypeAlias = "tuple[list[Column], CsvOptions, list[bytes]]"

# The server is not reset between two examples, each of which makes its tables itself.
on_server = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def csv_options(draw: st.DrawFn, names: Sequence[str]) -> CsvOptions:
    """The csv options, mostly the usual ones."""
    delimiter = draw(st.sampled_from(",,,;|\t .-0:"))
    quote = draw(st.sampled_from('"""\'~1.').filter(lambda character: character != delimiter))
    some = st.sampled_from([(), (), (), (), ("*",), tuple(names), tuple(names[:1])])
    nulls = ["", "", "", "NULL", "\\N", "-", "0", "t", "NaN", "2025-01-01"]
    return CsvOptions(
        header=draw(st.booleans()),
        delimiter=delimiter,
        quote=quote,
        escape=draw(st.sampled_from([None, None, quote, "\\"])),
        null=draw(st.sampled_from([null for null in nulls if delimiter not in null and quote not in null])),
        force_null=draw(some),
        force_not_null=draw(some),
        encoding=draw(st.sampled_from(["UTF8", "utf-8"])),
    )


@st.composite
def files(draw: st.DrawFn, *, odd: bool) -> File:
    """A table, the csv options, and a file for it in blocks."""
    types = draw(st.lists(st.sampled_from(TYPES), min_size=2, max_size=5))
    columns = columns_of(types)
    options = draw(csv_options([column.name for column in columns]))
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    special = options.delimiter + options.quote + "\r\n"

    def cell(type_: str) -> str:
        if draw(st.integers(0, 9)) == 0:
            return options.null
        value = draw(PLAIN[type_])
        if (any(character in value for character in special) or value == options.null) or draw(st.integers(0, 4)) == 0:
            return quoted(value, options.quote)
        return value

    header = options.delimiter.join(quoted(column.name, options.quote) for column in columns)
    lines = [header] if options.has_header else []
    lines += [options.delimiter.join(map(cell, types)) for _ in range(draw(st.integers(0, 6)))]
    if odd and lines:
        place = draw(st.integers(0, len(lines) - 1))
        values = [cell(type_) for type_ in types]
        values[draw(st.integers(0, len(types) - 1))] = draw(
            st.sampled_from(ODD).map(lambda value: quoted(value, options.quote) if draw(st.booleans()) else value)
        )
        lines.insert(place, options.delimiter.join(values))
    data = line_end.join(lines) + draw(st.sampled_from([line_end, ""]))
    raw = data.encode()
    if odd:
        raw = draw(st.just(raw) | mutations(raw, options))
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
    return columns, options, [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@st.composite
def mutations(draw: st.DrawFn, raw: bytes, options: CsvOptions) -> bytes:
    """A file with some bytes taken out or put in."""
    mutated = bytearray(raw)
    bytes_ = [
        options.quote.encode(),
        options.delimiter.encode(),
        b"\n",
        b"\r",
        b"\r\n",
        b"\\",
        b"0",
        b" ",
        b"\xff",
        b"\0",
    ]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(mutated)))
        if draw(st.booleans()):
            mutated[place:place] = draw(st.sampled_from(bytes_))
        else:
            del mutated[place : place + 1]
    return bytes(mutated)


@on_server
@given(file=files(odd=False))
def test_files_of_exporters(both_ways: BothWays, file: File) -> None:
    event(both_ways.load(*file))


@settings(on_server, max_examples=600)
@given(file=files(odd=True))
def test_files_with_oddities(both_ways: BothWays, file: File) -> None:
    event(both_ways.load(*file))


# Cells as they stand in the file: quotes, escapes, delimiters and line ends in all places.
CELLS = [
    "", "", "a", "ü", " ", ".", '""', '"a"', '"a""b"', '"""a"', '"a"""', '""""', '""""""', '"a,b"', '"a\nb"', '"\r\n"',
    '"\r"', '"\n\\.\n"', "\\.", '"\\."', "\\", '"\\"', '"\\""', '"a\\"b"', 'a"b"', '"a"b', '"a" ', ' "a"', 'a""', '"',
    '"""', "'", "'a'", "'a''b'", "'a,b'", "'\n'", "\r", "\n", "\r\n", "NULL", '"NULL"', "1", '"1"', "-2.5", '"-2.5"',
    '"1""2"', "1''2", "'1''2'",
]  # fmt: skip


@st.composite
def structures(draw: st.DrawFn) -> File:
    columns = columns_of(draw(st.sampled_from([["text"] * 2, ["text"] * 3, ["text", "double precision"]])))
    options = CsvOptions(
        header=draw(st.booleans()),
        delimiter=draw(st.sampled_from(",,,,.;")),
        quote=draw(st.sampled_from('"""\'')),
        escape=draw(st.sampled_from([None, None, "\\", "'", '"'])),
        null=draw(st.sampled_from(["", "", "NULL", "1", "\\N"])),
        force_null=draw(st.sampled_from([(), ("*",), ("c0",)])),
        force_not_null=draw(st.sampled_from([(), ("*",), ("c1",)])),
    )
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    row = st.lists(st.sampled_from(CELLS), min_size=len(columns), max_size=len(columns)).map(options.delimiter.join)
    other = st.sampled_from(["", "\\.", "a", '"', "a,b,c,d", "\r"])
    lines = draw(st.lists(row | row | row | row | other, max_size=5))
    raw = (line_end.join(lines) + draw(st.sampled_from([line_end, ""]))).encode()
    cut = draw(st.integers(0, len(raw)))
    return columns, options, [raw[:cut], raw[cut:]]


@settings(on_server, max_examples=1000)
@given(file=structures())
def test_quotes_and_line_ends_anywhere(both_ways: BothWays, file: File) -> None:
    event(both_ways.load(*file))
