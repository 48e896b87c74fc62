"""What a load leaves to do after its COMMIT, and the same as a record that outlives the process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from shared.load.day import Loaded
from shared.model.window import TimeValue, Window
from shared.timescale.chunks import Chunk


@dataclass(frozen=True)
class Left:
    """What a load leaves to do after its COMMIT.

    Attributes:
        to_recompress: the chunks that are to be compressed again.
        day: the day, in the time column's type; None where it was not found in the table.
        spans: what was really loaded.
        created: the chunks that the load made.
    """

    to_recompress: tuple[Chunk, ...]
    day: Window | None
    spans: tuple[Window, ...]
    created: tuple[Chunk, ...] = ()

    @classmethod
    def of(cls, loaded: Loaded) -> Left:
        """Return what a load leaves to do."""
        return cls(loaded.to_recompress, loaded.target.window, loaded.spans, loaded.created)

    def encode(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "day": _encode_window(self.day),
            "to_recompress": [[chunk.schema, chunk.name] for chunk in self.to_recompress],
            "spans": [_encode_window(span) for span in self.spans],
            "created": [[chunk.schema, chunk.name] for chunk in self.created],
        }


def decode_left(record: dict[str, Any]) -> Left:
    """Read what `Left.encode` wrote."""
    return Left(
        tuple(Chunk(schema, name, is_compressed=True) for schema, name in record["to_recompress"]),
        _decode_window(record["day"]),
        tuple(span for span in map(_decode_window, record["spans"]) if span is not None),
        # A record of an older version lacks it.
        tuple(Chunk(schema, name, is_compressed=False) for schema, name in record.get("created", ())),
    )


def _encode_window(window: Window | None) -> list[Any] | None:
    if window is None:
        return None
    bounds = [one if isinstance(one, int) else one.isoformat() for one in (window.lower, window.upper)]
    return [window.kind, *bounds]


def _decode_window(record: list[Any] | None) -> Window | None:
    if record is None:
        return None
    kind, lower, upper = record
    return Window(kind, _decode_time(kind, lower), _decode_time(kind, upper))


def _decode_time(kind: str, value: str | int) -> TimeValue:
    if isinstance(value, int):
        return value
    return date.fromisoformat(value) if kind == "date" else datetime.fromisoformat(value)
