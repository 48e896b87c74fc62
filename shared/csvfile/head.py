"""The first records of a CSV file, read exactly as PostgreSQL's COPY would read them.

The rules are those of `CopyReadLineText` and `CopyReadAttributesCSV` in PostgreSQL's
`src/backend/commands/copyfromparse.c`: Python's csv module differs in quotes inside a field, in escapes and
in line ends, and a header that two readers understand differently sends values into the wrong columns.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO

from psycopg2.extensions import encodings

from shared.errors import HeaderInvalid, HeaderMissing
from shared.process import MIB

# The widest table there is: MaxHeapAttributeNumber, https://www.postgresql.org/docs/current/limits.html
MOST_COLUMNS = 1600
# In a message.
_MOST_POSITIONS = 10
# As many names of 63 characters, each quoted, with room to spare.
_MOST_HEADER_BYTES = 256 * 1024
_PIECE_BYTES = 16 * 1024
_BOM = codecs.BOM_UTF8


@dataclass(frozen=True)
class CsvDialect:
    """The csv options that decide where a field and a record end.

    Attributes:
        delimiter: COPY's DELIMITER, one one-byte character.
        quote: COPY's QUOTE, one one-byte character.
        escape: COPY's ESCAPE, one one-byte character; PostgreSQL's default is the quote.
        encoding: COPY's ENCODING, by PostgreSQL's name.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: str = "UTF8"


def python_codec(encoding: str) -> str:
    """Name Python's codec for one of PostgreSQL's encodings.

    Args:
        encoding: PostgreSQL's name, in any case and with any punctuation, as PostgreSQL takes it.

    Returns:
        The codec's name. SQL_ASCII means "as the database has it", which is read as UTF-8.

    Raises:
        HeaderInvalid: the encoding is unknown here.
    """
    name = _plain(encoding)
    codec = "utf_8" if name == "sqlascii" else _CODECS.get(name)
    if codec is None:
        raise HeaderInvalid("the encoding is not known", target="copy.csv_options.ENCODING")
    return codec


def bom_length(file: IO[bytes], dialect: CsvDialect) -> int:
    """Measure the byte order mark, which COPY would take for a part of the first value.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: only UTF-8 has this mark.

    Returns:
        Its length in bytes: 3, or 0 where there is none.
    """
    file.seek(0)
    start = file.read(len(_BOM))
    file.seek(0)
    return len(_BOM) if start == _BOM and python_codec(dialect.encoding) == "utf_8" else 0


def read_records(file: IO[bytes], dialect: CsvDialect, count: int, *, limit_bytes: int = MIB) -> list[list[str]]:
    """Read the first records.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        count: how many records are wanted.
        limit_bytes: a record whose text is longer than this, in bytes of UTF-8, is refused.

    Returns:
        The fields of each record, unquoted; fewer records where the file ends.

    Raises:
        HeaderInvalid: one of them is too long, cannot be decoded, mixes line ends, or has an open quote.
    """
    start = bom_length(file, dialect)
    try:
        file.seek(start)
        lines = _split_lines(characters(file, dialect), dialect, limit_bytes)
        return [_split_fields(line, dialect) for line in islice(lines, count)]
    finally:
        file.seek(0)


def read_header(file: IO[bytes], dialect: CsvDialect) -> list[str]:
    """Read the column names of the first record.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.

    Returns:
        The names in order, exactly as written.

    Raises:
        HeaderMissing: the file is empty.
        HeaderInvalid: the record cannot be read, is longer than 256 KiB, names more than 1,600 columns, or a name is
            empty or occurs twice.
    """
    records = read_records(file, dialect, 1, limit_bytes=_MOST_HEADER_BYTES)
    if not records:
        raise HeaderMissing("the file is empty: it has no header line")
    names = records[0]
    if len(names) > MOST_COLUMNS:
        raise HeaderInvalid(f"the header names {len(names)} columns, and no table has more than {MOST_COLUMNS}")
    if "" in names:
        raise HeaderInvalid(f"the header names no column at position {names.index('') + 1}")
    # Names are not repeated here: what is taken for a header may be a row.
    times = Counter(names)
    repeated = [str(place) for place, name in enumerate(names, 1) if times[name] > 1]
    if repeated:
        raise HeaderInvalid(
            f"the header names a column twice, at positions {', '.join(repeated[:_MOST_POSITIONS])}",
            hint="if the file has no header, set copy.csv_options.HEADER to false and name copy.columns",
        )
    return names


def _plain(encoding: str) -> str:
    # As clean_encoding_name() in PostgreSQL's src/common/encnames.c.
    return "".join(c for c in encoding.lower() if c.isascii() and c.isalnum())


_CODECS = {_plain(name): codec for name, codec in encodings.items()}


def characters(file: IO[bytes], dialect: CsvDialect) -> Iterator[str]:
    """Decode a file from where it stands. Raises HeaderInvalid where the bytes are none of the encoding."""
    codec = python_codec(dialect.encoding)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    done = False
    while not done:
        piece = file.read(_PIECE_BYTES)
        done = not piece
        try:
            text = decoder.decode(piece, final=done)
        except UnicodeDecodeError as exc:
            # Only a record that holds the bad byte is unreadable, not the ones before it.
            yield from exc.object[: exc.start].decode(codec)
            raise HeaderInvalid(f"the file's beginning is not {dialect.encoding}") from exc
        yield from text


class Quotes:
    """Whether a character stands inside quotes (`open`), as CopyReadLineText counts them."""

    def __init__(self, dialect: CsvDialect) -> None:
        self.open = False
        self._quote = dialect.quote
        # The same character twice needs no escape: it closes and opens.
        self._escape = "" if dialect.escape == dialect.quote else dialect.escape
        self._escaped = False

    def see(self, character: str) -> None:
        """Take in the next character of the file."""
        if self.open and character == self._escape:
            self._escaped = not self._escaped
            return
        if character == self._quote and not self._escaped:
            self.open = not self.open
        self._escaped = False


def _split_lines(text: Iterator[str], dialect: CsvDialect, limit_bytes: int) -> Iterator[str]:
    quotes = Quotes(dialect)
    line_end = ""  # unknown until the first line decides it
    line: list[str] = []
    size = 0
    while character := next(text, ""):
        quotes.see(character)
        if quotes.open or character not in "\r\n":
            line.append(character)
            size += _checked_size(character)
            if size > limit_bytes:
                raise HeaderInvalid(f"a record at the file's beginning is longer than {limit_bytes} bytes")
            continue
        if character == "\r" and line_end != "\r":
            following = next(text, "")
            if following == "\n":
                character = "\r\n"
            else:
                text = chain(following, text)
        line_end = line_end or character
        if character != line_end:
            raise HeaderInvalid("the file's first records end in different line ends, one of them unquoted")
        yield "".join(line)
        line, size = [], 0
    if line:
        yield "".join(line)


def _checked_size(character: str) -> int:
    if character == "\0":
        raise HeaderInvalid("a record at the file's beginning holds a zero byte")
    return 1 if character.isascii() else len(character.encode("utf-8"))


def _split_fields(line: str, dialect: CsvDialect) -> list[str]:
    fields: list[str] = []
    field: list[str] = []
    in_quote = False
    characters = iter(enumerate(line))
    for position, character in characters:
        following = line[position + 1 : position + 2]
        if in_quote and character == dialect.escape and following in {dialect.escape, dialect.quote}:
            field.append(following)
            next(characters)
        elif character == dialect.delimiter and not in_quote:
            fields.append("".join(field))
            field = []
        elif character == dialect.quote:
            in_quote = not in_quote
        else:
            field.append(character)
    if in_quote:
        raise HeaderInvalid("a quote at the file's beginning is never closed")
    return [*fields, "".join(field)]


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
