"""CSV to PostgreSQL's binary COPY format, block by block: the same rows, or NotExact."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import StringEncoderBuilder
from pgpq.schema import Jsonb

from shared.binary.eligibility import NotEncodable, demand, kind_of
from shared.binary.records import Cells, RecordReader
from shared.binary.values import reader_of
from shared.csvfile.options import CsvOptions
from shared.timescale.table import Column

# As much is encoded at once.
BLOCK_BYTES = 1024 * 1024
# A record that is longer than this is left to the text way.
_MOST_RECORD_BYTES = 4 * 1024 * 1024


def reason_in_sample(columns: Sequence[Column], options: CsvOptions, sample: bytes) -> str | None:
    """Try the file's beginning, so that a form that never goes binary is known before anything is written.

    Args:
        columns: as for `reason_for_text`.
        options: the request's.
        sample: the file's first bytes after a byte order mark, cut anywhere; a megabyte shows most.

    Returns:
        What is not proved to be read as PostgreSQL reads it, or None.
    """
    rows = BinaryRows(columns, options)
    try:
        rows.encode_whole_records(sample)
    except NotEncodable as exc:
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
        self._columns = columns
        kinds = [kind_of(column.type_sql) for column in columns]
        texts = [number for number, kind in enumerate(kinds) if kind in ("text", "jsonb")]
        self._records = RecordReader(options, len(columns), texts)
        self._readers = [
            reader_of(kind, column.type_sql) for kind, column in zip(kinds, columns, strict=True) if kind is not None
        ]
        demand(holds=len(self._readers) == len(columns), what="a type that has no binary form here")
        # The columns' own names may stand twice in a file, and say nothing to the server.
        fields = [pa.field(f"c{number}", type_) for number, (type_, _) in enumerate(self._readers)]
        self._schema = pa.schema(fields)
        builders = {field.name: ArrowToPostgresBinaryEncoder.infer_encoder(field) for field in fields}
        for kind, field in zip(kinds, fields, strict=True):
            if kind == "jsonb":
                builders[field.name] = StringEncoderBuilder.new_with_output(field, Jsonb())
        self._encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(self._schema, builders)
        self._header = self._encoder.write_header()

    def encode(self, blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Turn the file into what `COPY ... FROM STDIN (FORMAT binary)` takes.

        Args:
            blocks: the file's bytes after a byte order mark, cut anywhere.

        Yields:
            The next bytes. `COPY` has to end only after the last ones.

        Raises:
            NotExact: something is not proved to be read as PostgreSQL reads it. What was sent is to be rolled back.
        """
        yield self._header
        rest = b""
        for pieces in _in_size(blocks):
            encoded, rest = self.encode_whole_records(b"".join([rest, *pieces]))
            demand(holds=len(rest) <= _MOST_RECORD_BYTES, what="a record is very long")
            if encoded:
                yield encoded
        if rest:
            # The last line needs no end.
            encoded, rest = self.encode_whole_records(rest + self._records.line_end)
            demand(holds=not rest, what="the file ends inside quotes, or its only line has no end")
            if encoded:
                yield encoded
        yield self.end()

    def encode_whole_records(self, data: bytes) -> tuple[bytes, bytes]:
        """Write the rows of the records that are whole, as far as the encoder gives them away, and return what is left.

        Args:
            data: of the file, from the beginning of a record on.

        Raises:
            NotExact: as `encode`.
        """
        cells, size = self._records.read(data)
        return b"" if cells is None else self._rows(cells), data[size:]

    def end(self) -> bytes:
        """Return what the encoder still holds of the rows, and the end of the file."""
        return bytes(self._encoder.finish())

    def _rows(self, cells: Cells) -> bytes:
        arrays = []
        for column, values, (_, read) in zip(self._columns, cells.columns, self._readers, strict=True):
            arrays.append(read(self._with_nulls(column.name, values)))
        self.rows += cells.rows
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return bytes(self._encoder.write_batch(batch))

    def _with_nulls(self, name: str, values: Any) -> Any:
        """Say which cells are NULL: as `NextCopyFrom` in PostgreSQL's copyfromparse.c decides it."""
        options, marker = self._options, self._options.null.encode()
        forces_null = options.force_null == ("*",) or name in options.force_null
        forces_not_null = options.force_not_null == ("*",) or name in options.force_not_null
        if not (forces_null or forces_not_null):
            return values
        unquoted = values.is_null()
        # What is the marker and yet no null stood in quotes.
        quoted = pc.fill_null(pc.equal(values, pa.scalar(marker, pa.binary())), False)  # noqa: FBT003 - fills
        if forces_not_null:
            values = pc.if_else(unquoted, pa.scalar(marker, pa.binary()), values)
        return pc.if_else(quoted, pa.scalar(None, pa.binary()), values) if forces_null else values


def _in_size(blocks: Iterable[bytes]) -> Generator[list[bytes], None, None]:
    """Cut and put together blocks, so that all but the last have about one size."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        for start in range(0, len(block), BLOCK_BYTES):
            waiting.append(block[start : start + BLOCK_BYTES])
            size += len(waiting[-1])
            if size >= BLOCK_BYTES:
                yield waiting
                waiting, size = [], 0
    if waiting:
        yield waiting
