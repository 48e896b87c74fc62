"""What lies in memory behind an Arrow array of `binary`: the bytes of its cells, one after the other."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from shared.binary.plan import Kind, NotExact, not_plain


def size_of(cells: Any) -> int:
    """Return how many bytes all cells have together; nulls have none."""
    begin, end = _bounds(cells)
    return end - begin


def data_of(cells: Any) -> bytes:
    """Return the bytes of all cells, one after the other; nulls have none."""
    begin, end = _bounds(cells)
    buffer = cells.buffers()[2]
    return b"" if buffer is None else buffer.slice(begin, end - begin).to_pybytes()


def text_of(cells: Any) -> Any:
    """Return the same cells as an array of `string`. Nothing is copied, nor is the encoding looked at."""
    return pa.Array.from_buffers(pa.string(), len(cells), cells.buffers(), cells.null_count, cells.offset)


def lengths(cells: Any) -> tuple[int, int]:
    """Return how many bytes the shortest and the longest cell have, nulls left out; both are 0 where none is left."""
    found = pc.min_max(pc.binary_length(cells)).as_py()
    return found["min"] or 0, found["max"] or 0


def cast(cells: Any, type_: Any, kind: Kind) -> Any:
    """Read all cells as values of an Arrow type.

    Args:
        cells: an array of `binary`.
        type_: Arrow's type.
        kind: for the error.

    Raises:
        NotExact: Arrow does not read one of them.
    """
    try:
        return text_of(cells).cast(type_)
    except pa.ArrowInvalid:
        # Its message shows the value.
        raise NotExact(not_plain(kind)) from None


def _bounds(cells: Any) -> tuple[int, int]:
    # 32 bits each, by the type's definition.
    offsets = memoryview(cells.buffers()[1]).cast("i")
    return offsets[cells.offset], offsets[cells.offset + len(cells)]
