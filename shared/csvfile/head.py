"""Reads the first records of a CSV file exactly as PostgreSQL's COPY does.

The rules are those of `CopyReadLineText` and `CopyReadAttributesCSV` in PostgreSQL's
`src/backend/commands/copyfromparse.c`. Python's csv module treats quotes inside a field, escapes and line ends
differently. If two readers disagree about the header, values end up in the wrong columns.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO

from psycopg2.extensions import encodings

from shared.csvfile.header_name import HeaderName
from shared.errors import HeaderInvalid, HeaderMissing
from shared.process import MIB

# The limit of a table: MaxHeapAttributeNumber, https://www.postgresql.org/docs/current/limits.html
MOST_COLUMNS = 1600
# Named in a message.
_MOST_POSITIONS = 10
# Room for 1,600 names of 63 characters, each quoted, and more.
_MOST_HEADER_BYTES = 256 * 1024
_PIECE_BYTES = 16 * 1024
_BOM = codecs.BOM_UTF8
ENCODING_HINT = (
    "name the file's own in copy.csv_options.ENCODING, such as WIN1252 (Excel and other programs of Windows in western"
    " languages) or LATIN1; a byte that is zero belongs to no text"
)
SKIP_SEPARATOR_HINT = (
    "the first line is for Excel: set copy.skip_lines to 1, and DELIMITER in copy.csv_options to its separator"
)
_NO_HEADER = "the CSV is empty, so it has no header line"


@dataclass(frozen=True)
class CsvDialect:
    """The csv options that determine where fields and records end.

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


def clean_encoding_name(encoding: str) -> str:
    """Return an encoding's name without case and punctuation, which PostgreSQL ignores ("utf-8", "UTF8").

    It does what clean_encoding_name() in PostgreSQL's src/common/encnames.c does.
    """
    return "".join(c for c in encoding.lower() if c.isascii() and c.isalnum())


_CODECS = {clean_encoding_name(name): codec for name, codec in encodings.items()}


def python_codec(encoding: str) -> str:
    """Return the name of Python's codec for one of PostgreSQL's encodings.

    Args:
        encoding: PostgreSQL's name, in any case and with any punctuation, as PostgreSQL accepts it.

    Returns:
        The codec's name. SQL_ASCII means the database's own encoding, and is read as UTF-8.

    Raises:
        HeaderInvalid: there is no codec for the encoding.
    """
    name = clean_encoding_name(encoding)
    codec = "utf_8" if name == "sqlascii" else _CODECS.get(name)
    if codec is None:
        raise HeaderInvalid("the encoding is not known", target="copy.csv_options.ENCODING")
    return codec


def bom_length(file: IO[bytes], dialect: CsvDialect) -> int:
    """Return the length of the byte order mark, which COPY would take for part of the first value.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: names the encoding. Only UTF-8 has this mark.

    Returns:
        Its length in bytes: 3, or 0 if there is none.
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
        count: number of records to read.
        limit_bytes: the most bytes of a record, as UTF-8.

    Returns:
        The fields of each record, unquoted. Fewer records if the file ends.

    Raises:
        HeaderInvalid: a record is too long, cannot be decoded, mixes line ends, or has an unclosed quote.
    """
    start = bom_length(file, dialect)
    try:
        file.seek(start)
        lines = _split_lines(characters(file, dialect), dialect, limit_bytes)
        return [_split_fields(line, dialect) for line in islice(lines, count)]
    finally:
        file.seek(0)


def read_header(file: IO[bytes], dialect: CsvDialect, left_out: Collection[str] = ()) -> tuple[HeaderName, ...]:
    """Read the column names of the first record.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        left_out: the names of columns that are not loaded. Only these may be empty, or occur twice.

    Returns:
        The names in order, exactly as written. None is known to be a name yet.

    Raises:
        HeaderMissing: the file is empty.
        HeaderInvalid: the record cannot be read, is longer than 256 KiB or names more than 1,600 columns, or the name
            of a column that is loaded is empty or occurs twice.
    """
    records = read_records(file, dialect, 1, limit_bytes=_MOST_HEADER_BYTES)
    if not records:
        raise HeaderMissing(_NO_HEADER)
    names = records[0]
    if len(names) > MOST_COLUMNS:
        raise HeaderInvalid(f"the header names {len(names)} columns, and no table has more than {MOST_COLUMNS}")
    if len(names) > 1 and names[0].lower() == "sep=" and not any(names[1:]):
        raise HeaderInvalid("the first line names a separator (sep=), and no columns", hint=SKIP_SEPARATOR_HINT)
    # The messages repeat no names: the header may be a row.
    times = Counter(names)
    nameless = [place for place, name in enumerate(names, 1) if not name and name not in left_out]
    if nameless:
        raise HeaderInvalid(
            f"the header names no column {_positions(nameless)}",
            hint='copy.column_map {"": null} leaves out all columns without a name; if they should have one, check'
            " DELIMITER and QUOTE in copy.csv_options, or set HEADER to false and name copy.columns",
        )
    repeated = [place for place, name in enumerate(names, 1) if times[name] > 1 and name not in left_out]
    if repeated:
        raise HeaderInvalid(
            f"the header names a column twice, {_positions(repeated)}",
            hint="if the file has no header, set copy.csv_options.HEADER to false and name copy.columns; a key of"
            " copy.column_map with null leaves out all columns of its name",
        )
    return tuple(HeaderName(name, place) for place, name in enumerate(names, 1))


def read_ignored_header(file: IO[bytes], dialect: CsvDialect, columns: int) -> list[str]:
    """Read the first record, which is skipped whatever it holds.

    A quote that is never closed there would let COPY skip rows together with it. So a header of several lines must be
    plain in its quotes, and have a field for each column.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        columns: number of the file's columns.

    Returns:
        Its fields.

    Raises:
        HeaderMissing: the file is empty.
        HeaderInvalid: the record cannot be read, is longer than 256 KiB, or may hold rows.
    """
    try:
        file.seek(bom_length(file, dialect))
        line = next(_split_lines(characters(file, dialect), dialect, _MOST_HEADER_BYTES), None)
    finally:
        file.seek(0)
    if line is None:
        raise HeaderMissing(_NO_HEADER)
    fields = _split_fields(line, dialect)
    if ("\n" in line or "\r" in line) and (len(fields) != columns or not _is_plainly_quoted(line, dialect)):
        raise HeaderInvalid("the header takes several lines, and rows may be among them: a quote is not closed")
    return fields


def _is_plainly_quoted(line: str, dialect: CsvDialect) -> bool:
    """Whether every quote in a record opens or closes a whole field, or is escaped."""
    quote, escape, delimiter = (re.escape(letter) for letter in (dialect.quote, dialect.escape, dialect.delimiter))
    inside = rf"[^{quote}]|{quote}{quote}"
    if quote != escape:
        inside = rf"[^{quote}{escape}]|{escape}[{quote}{escape}]|{escape}(?![{quote}{escape}])"
    field = rf"(?:{quote}(?:{inside})*{quote}|[^{quote}{delimiter}]*)"
    return re.fullmatch(rf"{field}(?:{delimiter}{field})*", line) is not None


def read_line(line: bytes, dialect: CsvDialect) -> list[str] | None:
    """Split a line of the file into fields; None if it is empty or cannot be read."""
    try:
        records = read_records(io.BytesIO(line), dialect, 1)
    except HeaderInvalid:
        return None
    return records[0] if records else None


def _positions(places: Sequence[int]) -> str:
    shown = ", ".join(str(place) for place in places[:_MOST_POSITIONS])
    return f"at position{'s' if len(places) > 1 else ''} {shown}"


def characters(file: IO[bytes], dialect: CsvDialect) -> Iterator[str]:
    """Decode a file from its current position. Raises HeaderInvalid if the bytes are not valid in the encoding."""
    codec = python_codec(dialect.encoding)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    done = False
    while not done:
        piece = file.read(_PIECE_BYTES)
        done = not piece
        try:
            text = decoder.decode(piece, final=done)
        except UnicodeDecodeError as exc:
            # Records before the invalid byte can still be read.
            yield from exc.object[: exc.start].decode(codec)
            raise HeaderInvalid(
                f"the beginning of the file is not valid {dialect.encoding}",
                target="copy.csv_options.ENCODING",
                hint=ENCODING_HINT,
            ) from exc
        yield from text


class _Quotes:
    """Follows a CSV's quotes character by character, as `CopyReadLineText` does.

    Attributes:
        is_open: whether the text so far ends inside quotes.
    """

    def __init__(self, dialect: CsvDialect) -> None:
        self.is_open = self._is_escaped = False
        self._quote = dialect.quote
        # A doubled quote closes and opens again.
        self._escape = dialect.escape if dialect.escape != dialect.quote else None

    def see(self, character: str) -> None:
        """Take in the next character."""
        if self._is_escaped:
            self._is_escaped = False
        elif character == self._escape and self.is_open:
            self._is_escaped = True
        elif character == self._quote:
            self.is_open = not self.is_open


def _split_lines(text: Iterator[str], dialect: CsvDialect, limit_bytes: int) -> Iterator[str]:
    quotes = _Quotes(dialect)
    line_end = ""  # unknown until the first line decides it
    line: list[str] = []
    size = 0
    while character := next(text, ""):
        quotes.see(character)
        if quotes.is_open or character not in "\r\n":
            line.append(character)
            size += _checked_size(character)
            if size > limit_bytes:
                raise HeaderInvalid(f"a record at the beginning of the file is longer than {limit_bytes} bytes")
            continue
        if character == "\r" and line_end != "\r":
            following = next(text, "")
            if following == "\n":
                character = "\r\n"
            else:
                text = chain(following, text)
        line_end = line_end or character
        if character != line_end:
            raise HeaderInvalid("the first records of the file have different line ends outside quotes")
        yield "".join(line)
        line, size = [], 0
    if line:
        yield "".join(line)


def _checked_size(character: str) -> int:
    if character == "\0":
        raise HeaderInvalid("a record at the beginning of the file holds a zero byte")
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
        raise HeaderInvalid("a quote at the beginning of the file is never closed")
    return [*fields, "".join(field)]


# The maximum of PostgreSQL's encodings.
_MOST_BYTES_OF_A_CHARACTER = 4


def first_row_length(file: IO[bytes], dialect: CsvDialect, *, has_header: bool) -> int | None:
    r"""Return the length of the first row, including the header before it.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        has_header: whether a header precedes the first row.

    Returns:
        Bytes after the byte order mark. None if nothing follows the first row within 1 MiB, or if the length is
        uncertain: lines end in a lone `\r` or in different ways, a record cannot be read, or the encoding can write
        the same text in several ways.
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
        # Decoding and encoding must give the same bytes, and something must follow.
        return len(encoded) if beginning.startswith(encoded) and beginning != encoded else None
    except (HeaderInvalid, UnicodeError):
        return None
    finally:
        file.seek(0)


def _records(file: IO[bytes], dialect: CsvDialect, count: int) -> str | None:
    """Return the text of the first records, if the record after them has the same line end.

    COPY expects every line to end as its first line does. So a file that is copied in two parts must have only one kind
    of line end.
    """
    quotes = _Quotes(dialect)
    text: list[str] = []
    ends: list[tuple[str, int]] = []
    before = ""
    size = 0
    for character in characters(file, dialect):
        quotes.see(character)
        text.append(character)
        if before == "\r" and character != "\n":
            return None
        if character == "\n" and not quotes.is_open:
            ends.append(("\r\n" if before == "\r" else "\n", len(text)))
            if len(ends) > count:
                before = character
                break
        before = "" if quotes.is_open else character
        size += 1 if character.isascii() else _MOST_BYTES_OF_A_CHARACTER
        # The head of a streamed file is twice this long.
        if size > MIB:
            return None
    # The last line needs no line end.
    if len(ends) < count or before == "\r" or len({end for end, _ in ends}) > 1:
        return None
    return "".join(text[: ends[count - 1][1]])
