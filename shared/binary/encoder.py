"""Encodes CSV as PostgreSQL's binary COPY, block by block. Yields exactly the same rows, or raises NotEncodable."""

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
from shared.process import MIB
from shared.timescale.table import Column

# The amount that is encoded at once.
BLOCK_BYTES = MIB
# A longer record is copied only as text.
_MOST_RECORD_BYTES = 4 * MIB


def reason_in_sample(columns: Sequence[Column], options: CsvOptions, sample: bytes) -> str | None:
    """Encode the beginning of the file, to find a reason for text before anything is written.

    Args:
        columns: as for `reason_for_text`.
        options: the request's csv options.
        sample: the file's first bytes after a byte order mark, cut anywhere; a megabyte shows most reasons.

    Returns:
        The reason, or None if there is none.
    """
    rows = BinaryRows(columns, options)
    try:
        rows.encode_whole_records(sample)
    except NotEncodable as exc:
        return str(exc)
    return None


class BinaryRows:
    """Encodes the rows of one CSV for a binary COPY.

    Attributes:
        rows: number of rows encoded so far.
    """

    def __init__(self, columns: Sequence[Column], options: CsvOptions) -> None:
        self.rows = 0
        self._options = options
        self._columns = columns
        kinds = [kind_of(column) for column in columns]
        texts = [number for number, kind in enumerate(kinds) if kind in ("text", "jsonb")]
        self._records = RecordReader(options, len(columns), texts)
        self._readers = [
            reader_of(kind, column) for kind, column in zip(kinds, columns, strict=True) if kind is not None
        ]
        demand(holds=len(self._readers) == len(columns), what="a type that has no binary form here")
        # Not the columns' own names: a file may repeat one, and the server ignores them.
        fields = [pa.field(f"c{number}", type_) for number, (type_, _) in enumerate(self._readers)]
        self._schema = pa.schema(fields)
        builders = {field.name: ArrowToPostgresBinaryEncoder.infer_encoder(field) for field in fields}
        for kind, field in zip(kinds, fields, strict=True):
            if kind == "jsonb":
                builders[field.name] = StringEncoderBuilder.new_with_output(field, Jsonb())
        self._encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(self._schema, builders)
        self._header = self._encoder.write_header()

    def encode(self, blocks: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Encode the file for `COPY ... FROM STDIN (FORMAT binary)`.

        Args:
            blocks: the file's bytes after a byte order mark, cut anywhere.

        Yields:
            The encoded bytes. The COPY is complete only after the last ones.

        Raises:
            NotEncodable: something may be read otherwise than PostgreSQL reads it. Roll back what was sent.
        """
        yield self._header
        rest = b""
        for pieces in _in_size(blocks):
            encoded, rest = self.encode_whole_records(b"".join([rest, *pieces]))
            demand(holds=len(rest) <= _MOST_RECORD_BYTES, what="a record is very long")
            if encoded:
                yield encoded
        if rest:
            # The last line needs no line end.
            encoded, rest = self.encode_whole_records(rest + self._records.line_end)
            demand(holds=not rest, what="the file ends inside quotes, or its only line has no end")
            if encoded:
                yield encoded
        yield self.end()

    def encode_whole_records(self, data: bytes) -> tuple[bytes, bytes]:
        """Encode the complete records of some data.

        Args:
            data: bytes of the file, from the beginning of a record.

        Returns:
            The bytes that the encoder releases so far, and the rest of the data, which is not a complete record.

        Raises:
            NotEncodable: as `encode`.
        """
        cells, size = self._records.read(data)
        return b"" if cells is None else self._rows(cells), data[size:]

    def end(self) -> bytes:
        """Return the rest of the rows from the encoder, and the trailer."""
        return bytes(self._encoder.finish())

    def _rows(self, cells: Cells) -> bytes:
        arrays = []
        for column, values, (_, read) in zip(self._columns, cells.columns, self._readers, strict=True):
            arrays.append(read(self._with_nulls(column.name, values)))
        self.rows += cells.rows
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return bytes(self._encoder.write_batch(batch))

    def _with_nulls(self, name: str, values: Any) -> Any:
        """Set the cells that are NULL, by the rules of `NextCopyFrom` in PostgreSQL's copyfromparse.c."""
        options, marker = self._options, self._options.null.encode()
        forces_null = options.force_null == ("*",) or name in options.force_null
        forces_not_null = options.force_not_null == ("*",) or name in options.force_not_null
        if not (forces_null or forces_not_null):
            return values
        unquoted = values.is_null()
        # A cell that equals the marker and is not null was quoted.
        quoted = pc.fill_null(pc.equal(values, pa.scalar(marker, pa.binary())), False)  # noqa: FBT003 - fills
        if forces_not_null:
            values = pc.if_else(unquoted, pa.scalar(marker, pa.binary()), values)
        return pc.if_else(quoted, pa.scalar(None, pa.binary()), values) if forces_null else values


def _in_size(blocks: Iterable[bytes]) -> Generator[list[bytes], None, None]:
    """Split and group blocks, so that all groups but the last have about the same size."""
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
