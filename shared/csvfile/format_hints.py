r"""Finds signs in a CSV's beginning that COPY will read it differently from what its writer meant.

Signs are no proof, so they become warnings. The fields are split as COPY splits them, by one regular expression: it
must be fast, since a MiB is searched while other sessions may wait for the table.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import IO

from shared.csvfile.head import SKIP_SEPARATOR_HINT, CsvDialect, bom_length, python_codec
from shared.errors import HeaderInvalid
from shared.process import MIB

# What may be between a quote and the end of its field without a meaning.
_BLANKS = " \t"

# A time of day, and what follows it: `+02`, `-05:30`, ` CET`, ` PM CET`, ` CET 2025`. A date alone ends in `-05`, too.
_ZONE = re.compile(
    r"(?:\d:\d\d(?::\d\d(?:[.,]\d*)?)?|[Tt ]\d{4,6}(?:[.,]\d*)?)(?:\s*[AaPp][Mm](?=\s))?"
    r"\s*([+-]\d[\d:]*|[A-Za-z][A-Za-z0-9_/:+-]*)(?:\s+\d{4})?\s*\Z"
)
_ZONE_IN_BYTES = re.compile(rb"(?::\d\d|[Tt ]\d{4,6})(?:[.,]\d*)?\s*[+\-A-Za-z]")
# No zone, or UTC, in which a value without a zone is read.
_ZERO = frozenset({"Z", "UTC", "GMT", "UT", "ZULU", "UCT", "ETC/UTC", "ETC/GMT", "AM", "PM", "BC", "AD"})


def escapes_by_backslash(file: IO[bytes], dialect: CsvDialect) -> bool:
    r"""Whether the first MiB shows `\"` inside quotes, as Spark and Data Factory write a quote.

    To COPY, by default, that quote ends the quoted part, and what was meant as text goes on outside it. A field that
    ends with a backslash (`"C:\dir\",next`) looks the same up to that quote. So it is decided by what follows: where
    no backslash escapes anything, a quote opens at the beginning of a field and closes at its end.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is said to be written.
    """
    quote = dialect.quote
    if quote in {"\\", ""} or dialect.escape != quote:
        return False
    text = _beginning(file, dialect, holds=re.compile(re.escape(b"\\" + quote.encode())))
    if text is None:
        return False
    limits = f"{dialect.delimiter}\r\n"
    part = re.compile(rf"{re.escape(quote)}(?:[^{re.escape(quote)}]+|{re.escape(quote * 2)})*({re.escape(quote)}|\Z)")
    before = 0
    for found in part.finditer(text):
        opens, closes = found.start(), found.end()
        # Include the previous part: a wrongly detected end may have cut it short.
        if (not _is_limit(text, opens, -1, limits) or (found[1] and not _is_limit(text, closes - 1, 1, limits))) and (
            f"\\{quote}" in text[before:closes]
        ):
            return True
        before = opens
    return False


def columns_with_offsets(
    file: IO[bytes], dialect: CsvDialect, names: Sequence[str | None], wanted: Collection[str], *, has_header: bool
) -> tuple[str, ...]:
    """Name the columns in which the first MiB shows a time with a zone that is not UTC.

    Args:
        file: the CSV; its position is 0 afterwards.
        dialect: how it is written.
        names: the file's columns; None: one that is left out.
        wanted: those that are looked at.
        has_header: whether the first record is a header, not a row.
    """
    places = {place: name for place, name in enumerate(names) if name is not None and name in wanted}
    text = _beginning(file, dialect, holds=_ZONE_IN_BYTES) if places else None
    if text is None:
        return ()
    found: set[int] = set()
    for number, record in enumerate(_records(text, dialect)):
        if number or not has_header:
            # A record with other fields than the header is refused by COPY.
            found.update(place for place in places if len(record) == len(names) and _has_offset(record[place]))
        if len(found) == len(places):
            break
    return tuple(places[place] for place in sorted(found))


def delimiter_hint(fields: Sequence[str], dialect: CsvDialect) -> str | None:
    """Say which DELIMITER a record of a single field seems to be written with; None if it shows none.

    Args:
        fields: of the record.
        dialect: how it is said to be written.
    """
    others = [letter for letter in ";\t|," if letter != dialect.delimiter]
    if len(fields) != 1 or not any(letter in fields[0] for letter in others):
        return None
    if fields[0].lower().startswith("sep="):
        return SKIP_SEPARATOR_HINT
    shown = json.dumps(max(others, key=fields[0].count))
    return f"the file seems to separate its fields by {shown}: set copy.csv_options.DELIMITER to {shown}"


# UTF-32 first: its mark begins with that of UTF-16.
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_FEWEST_WIDE_BYTES = 8


def wide_encoding(beginning: bytes) -> str | None:
    """Return the encoding of a text whose characters have two or four bytes each, as iconv names it; None: it has not.

    Args:
        beginning: the file's first bytes.
    """
    for mark, name in _WIDE_MARKS:
        if beginning.startswith(mark):
            return name
    if len(beginning) < _FEWEST_WIDE_BYTES:
        return None
    # Without a mark: in western text every other byte is zero, and no other one.
    even, odd = beginning[::2], beginning[1::2]
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if 2 * zeros.count(0) > len(zeros) and not others.count(0):
            return name
    return None


def _has_offset(value: str) -> bool:
    zone = _ZONE.search(value)
    if zone is None:
        return False
    return any(digit in zone[1] for digit in "123456789") if zone[1][0] in "+-" else zone[1].upper() not in _ZERO


def _beginning(file: IO[bytes], dialect: CsvDialect, *, holds: re.Pattern[bytes]) -> str | None:
    """Read the first MiB; None where it does not hold the pattern, or is not to be read."""
    try:
        start = bom_length(file, dialect)
        file.seek(start)
        data = file.read(MIB)
        return data.decode(python_codec(dialect.encoding), "replace") if holds.search(data) else None
    except HeaderInvalid:
        return None
    finally:
        file.seek(0)


def _is_limit(text: str, quote_at: int, step: int, limits: str) -> bool:
    """Whether a quote is at its field's beginning (step -1) or end (step 1), not counting blanks."""
    place = quote_at + step
    while 0 <= place < len(text):
        if text[place] in limits:
            return True
        if text[place] not in _BLANKS:
            return False
        place += step
    return True


def _records(text: str, dialect: CsvDialect) -> Iterator[list[str]]:
    """Split into records of fields, quotes taken away. The last one may be cut short."""
    quote, escape, delimiter = (re.escape(letter) for letter in (dialect.quote, dialect.escape, dialect.delimiter))
    quoted = rf"{quote}(?:[^{quote}{escape}]+|{escape}[{quote}{escape}]?)*(?:{quote}|\Z)"
    if dialect.quote == dialect.escape:
        quoted = rf"{quote}(?:[^{quote}]+|{quote}{quote})*(?:{quote}|\Z)"
    field = re.compile(rf"((?:[^{quote}{delimiter}\r\n]+|{quoted})*)({delimiter}|\r\n|\r|\n|\Z)")
    record: list[str] = []
    for found in field.finditer(text):
        # A time holds no quote of its own, so none is kept.
        record.append(found[1].replace(dialect.quote, ""))
        if found[2] != dialect.delimiter:
            yield record
            record = []
