"""CSV to PostgreSQL's binary COPY format, block by block: the same rows, or NotExact."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.binary.cells import Cells, Flags, demand
from shared.binary.decimals import floats, numerics
from shared.binary.plan import Kind, NotExact, kind_of
from shared.binary.rows import HEADER, TRAILER, Encoded, Fixed, RowWriter, Varying, alike
from shared.binary.split import Format, Grid, Splitter
from shared.binary.times import dates, timestamps
from shared.binary.whole_numbers import whole_numbers
from shared.binary.words import booleans, uuids
from shared.csv_options import CsvOptions
from shared.database.hypertable import Column

# As much is encoded at once: enough that numpy's arrays are long. Half of it takes 5 % more CPU, twice as much gains
# nothing and needs 17 MB more.
BLOCK_BYTES = 1536 * 1024
# A record that is longer than this is left to the text way.
_MOST_RECORD_BYTES = 16 * 1024 * 1024

_READERS: dict[Kind, Callable[[Cells], NDArray[Any]]] = {
    "smallint": partial(whole_numbers, kind="smallint"),
    "integer": partial(whole_numbers, kind="integer"),
    "bigint": partial(whole_numbers, kind="bigint"),
    "real": partial(floats, kind="real"),
    "double precision": partial(floats, kind="double precision"),
    "numeric": numerics,
    "boolean": booleans,
    "date": dates,
    "timestamp": partial(timestamps, zoned=False),
    "timestamptz": partial(timestamps, zoned=True),
    "uuid": uuids,
}
# Those whose cells are taken apart at the full stop.
_WITH_DOTS: frozenset[Kind | None] = frozenset({"real", "double precision", "numeric"})
# The byte before the text of a jsonb is the version of this form: `jsonb_recv` in PostgreSQL's jsonb.c.
_JSONB_VERSION = b"\x01"


def first_obstacle(columns: Sequence[Column], options: CsvOptions, sample: bytes) -> str | None:
    """Try the file's beginning, so that a form that never goes binary is known before anything is written.

    Args:
        columns: as for `why_not`.
        options: the request's.
        sample: the file's first bytes after a byte order mark, cut anywhere; a megabyte shows most.

    Returns:
        What is not proved to be read as PostgreSQL reads it, or None.
    """
    rows = BinaryRows(columns, options)
    try:
        rows.encode_whole_records(sample)
    except NotExact as exc:
        return str(exc)
    return None


class BinaryRows:
    """The rows of one CSV as a binary COPY.

    Attributes:
        rows: how many were written so far.
    """

    def __init__(self, columns: Sequence[Column], options: CsvOptions) -> None:
        self.rows = 0
        self._options = options
        self._columns = [(column.name, kind_of(column.type_sql)) for column in columns]
        with_dots = any(kind in _WITH_DOTS for _, kind in self._columns)
        self._form = Format.of(options, len(columns), with_dots=with_dots)
        self._splitter = Splitter(self._form)
        self._writer = RowWriter()
        self._skips_header = options.has_header

    def encode(self, blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Turn the file into what `COPY ... FROM STDIN (FORMAT binary)` takes.

        Args:
            blocks: the file's bytes after a byte order mark, cut anywhere.

        Yields:
            The next bytes. `COPY` has to end only after the last ones.

        Raises:
            NotExact: something is not proved to be read as PostgreSQL reads it. What was sent is to be rolled back.
        """
        yield HEADER
        rest = b""
        for piece in _pieces(blocks):
            encoded, rest = self.encode_whole_records(rest + piece)
            demand(holds=len(rest) <= _MOST_RECORD_BYTES, what="a record is very long")
            if encoded:
                yield encoded
        if rest:
            # The last line needs no end.
            encoded, rest = self.encode_whole_records(rest + self._splitter.line_end)
            demand(holds=not rest, what="the file ends inside quotes, or its only line has no end")
            if encoded:
                yield encoded
        yield TRAILER

    def encode_whole_records(self, data: bytes) -> tuple[bytes, bytes]:
        """Write the rows of the records that are whole, and return what is left with them.

        Args:
            data: of the file, from the beginning of a record on.

        Raises:
            NotExact: as `encode`.
        """
        split = self._splitter.split(data)
        if split is None:
            return b"", data
        grid, size = split
        return self._rows(grid), data[size:]

    def _rows(self, grid: Grid) -> bytes:
        if self._skips_header:
            self._skips_header = False
            demand(holds=_is_utf8(grid.take_first()), what="the header is not UTF-8")
        self.rows += grid.rows
        if not grid.rows:
            return b""
        return self._writer.write(grid.rows, [self._column(grid, number) for number in range(len(self._columns))])

    def _column(self, grid: Grid, number: int) -> Encoded:
        name, kind = self._columns[number]
        cells, quoted = grid.column(number, with_dots=kind in _WITH_DOTS)
        null = self._is_null(name, cells, quoted)
        present: Flags | None = None
        if null.any():
            present = ~null
            cells = cells.pick(present)
        if kind == "text":
            values = alike(cells)
            return Varying(cells, present) if values is None else Fixed(values, present)
        if kind == "jsonb":
            return Varying(cells, present, _JSONB_VERSION)
        demand(holds=kind is not None, what="a type that has no binary form here")
        demand(holds=cells.doubled is None, what=f"a quote in a {kind}")
        if kind is None or not cells.start.size:
            return Fixed(np.empty(0, "V1"), present)
        return Fixed(_READERS[kind](cells), present)

    def _is_null(self, name: str, cells: Cells, quoted: Flags) -> Flags:
        """Say which cells are NULL: as `NextCopyFrom` in PostgreSQL's copyfromparse.c decides it."""
        is_marker = _equal(cells, self._form.null)
        forces_not_null = name in self._options.force_not_null or self._options.force_not_null == ("*",)
        forces_null = name in self._options.force_null or self._options.force_null == ("*",)
        if forces_not_null:
            return is_marker & quoted if forces_null else np.zeros(quoted.size, np.bool_)
        return is_marker if forces_null else is_marker & ~quoted


def _pieces(blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Cut and join blocks, so that each but the last has about one size."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        for start in range(0, len(block), BLOCK_BYTES):
            waiting.append(block[start : start + BLOCK_BYTES])
            size += len(waiting[-1])
            if size >= BLOCK_BYTES:
                yield b"".join(waiting)
                waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _equal(cells: Cells, value: bytes) -> Flags:
    """Say which cells are this value."""
    equal: Flags = cells.length == len(value)
    if value and equal.any():
        candidates = np.flatnonzero(equal)
        start = cells.start[candidates]
        for place, byte in enumerate(value):
            equal[candidates] &= cells.text.data[start + place] == byte
    return equal


def _is_utf8(names: Iterable[bytes]) -> bool:
    try:
        for name in names:
            name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
