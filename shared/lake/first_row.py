"""Where the first row of a CSV ends, so that it can be copied by itself."""

from __future__ import annotations

from typing import IO

from shared.errors import HeaderInvalid
from shared.lake.csv_head import MIB, CsvDialect, Quotes, bom_length, characters, python_codec

# The longest that PostgreSQL's encodings have.
_MOST_BYTES_OF_A_CHARACTER = 4


def first_row_length(file: IO[bytes], dialect: CsvDialect, *, has_header: bool) -> int | None:
    r"""Measure the file's beginning up to the end of its first row, the header included.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        has_header: whether a header comes before the first row.

    Returns:
        Bytes after the byte order mark; None where nothing follows the first row within a MiB, or where that cannot be
        said with certainty: a lone `\r` as line end or different ones, a record that cannot be read, an encoding that
        is written in more than one way.
    """
    start = bom_length(file, dialect)
    try:
        file.seek(start)
        text = _records(file, dialect, 2 if has_header else 1)
        if text is None:
            return None
        encoded = text.encode(python_codec(dialect.encoding))
        file.seek(start)
        beginning = file.read(len(encoded) + 1)
        # Decoded and encoded again it must be the same, and something must follow.
        return len(encoded) if beginning.startswith(encoded) and beginning != encoded else None
    except (HeaderInvalid, UnicodeError):
        return None
    finally:
        file.seek(0)


def _records(file: IO[bytes], dialect: CsvDialect, count: int) -> str | None:
    """Return the text of so many records, where the one after them has the same line end.

    COPY takes the line end of its first line for that of all, so a file that comes in two parts must have one alone.
    """
    quotes = Quotes(dialect)
    text: list[str] = []
    ends: list[tuple[str, int]] = []
    before = ""
    size = 0
    for character in characters(file, dialect):
        quotes.see(character)
        text.append(character)
        if before == "\r" and character != "\n":
            return None
        if character == "\n" and not quotes.open:
            ends.append(("\r\n" if before == "\r" else "\n", len(text)))
            if len(ends) > count:
                before = character
                break
        before = "" if quotes.open else character
        size += 1 if character.isascii() else _MOST_BYTES_OF_A_CHARACTER
        # The head of a streamed file is twice as long.
        if size > MIB:
            return None
    # The last line needs no end.
    if len(ends) < count or before == "\r" or len({end for end, _ in ends}) > 1:
        return None
    return "".join(text[: ends[count - 1][1]])
