"""Times reading of archives that were written to be slow: `python -m benchmarks.hostile`, in MB/s of CPU time.

Whatever the bytes, records are counted at 50 MB/s at least, and at 25 in the encodings that must be converted first.
"""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Callable
from functools import partial

from shared.archive.gunzip import gunzip
from shared.csvfile.head import CsvDialect
from shared.csvfile.scan import RecordCounter
from shared.process import MIB

_BYTES = 8 * MIB
_DIALECTS = {
    "default": CsvDialect(),
    "ESCAPE \\": CsvDialect(escape="\\"),
    "QUOTE \\": CsvDialect(quote="\\", escape='"'),
    "QUOTE .": CsvDialect(quote=".", escape="\\"),
    "LATIN1": CsvDialect(escape="\\", encoding="LATIN1"),
    "SJIS": CsvDialect(escape="\\", encoding="SJIS"),
}


_random = random.Random(13)  # noqa: S311 - no secret


def _any_of(alphabet: bytes) -> bytes:
    return bytes(_random.choices(alphabet, k=MIB))


_TEXTS = {
    "rows": b"2025-01-01 00:00:00,abc,1.5\n",
    "one-byte fields": b"1,2\n",
    "quotes": b'"',
    "escapes": b"\\",
    "escaped quotes": b'\\"',
    "quotes and escapes": _any_of(b'"\\'),
    "line ends in and out of quotes": _any_of(b'"\\\n\r'),
    "markers in quotes": b'"\n\\.\n"\n',
    "markers in other line ends": b'"\r\n\\.\r\n"\n',
    "letters of two bytes": "é".encode(),
    "any bytes": _any_of(bytes(range(256))),
}
_PACKED = {
    "empty members": gzip.compress(b""),
    "empty members with a name": b"\x1f\x8b\x08\x08" + bytes(6) + b"day.csv\0" + gzip.compress(b"")[10:],
    "members of a byte": gzip.compress(b"1"),
    "members of a row": gzip.compress(_TEXTS["rows"]),
    "stored blocks": gzip.compress(_any_of(bytes(range(256))), 0),
    "empty blocks": b"\x1f\x8b\x08" + bytes(7) + b"\0\0\0\xff\xff" * 99_999 + b"\1\0\0\xff\xff" + bytes(8),
    "padding": bytes(MIB),
    "a bomb": gzip.compress(bytes(MIB)),
}


def _rate(size: int, work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return size / 1e6 / (time.thread_time() - begin)


def _count(text: bytes, dialect: CsvDialect) -> None:
    counter = RecordCounter(dialect)
    for start in range(0, len(text), MIB):
        counter.see(text[start : start + MIB])


def _unpack(packed: bytes) -> None:
    for _ in gunzip([gzip.compress(b"1\n"), packed], max_bytes=2**40, max_expansion=2**20):
        pass


def main() -> None:
    """Print a table of counting and a list of unpacking."""
    print(f"{'counting, MB/s of CSV':32}" + "".join(f"{name:>10}" for name in _DIALECTS))
    for name, piece in _TEXTS.items():
        text = piece * (_BYTES // len(piece))
        rates = [_rate(len(text), partial(_count, text, dialect)) for dialect in _DIALECTS.values()]
        print(f"{name:32}" + "".join(f"{rate:10.0f}" for rate in rates))
    print("unpacking, MB/s of gzip")
    for name, piece in _PACKED.items():
        packed = piece * max(_BYTES // len(piece), 1)
        print(f"{name:32}{_rate(len(packed), partial(_unpack, packed)):10.1f}")


if __name__ == "__main__":
    main()
