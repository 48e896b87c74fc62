"""Random archives and requests for a random table."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.twin.draw import Draw
from tests.twin.tables import Column, Server, Table, time_text
from tests.twin.values import DAY

ENCODINGS = {"UTF8": "utf-8", "LATIN1": "latin-1", "WIN1252": "cp1252", "LATIN9": "iso8859-15"}
MARK = b"\xef\xbb\xbf"
PG_16, PG_17 = 160000, 170000


@dataclass(frozen=True)
class Dialect:
    """How the file is written, by the names of COPY's csv options, and its line ends."""

    delimiter: str = ","
    null: str = ""
    quote: str = '"'
    escape: str = '"'
    encoding: str = "UTF8"
    default: str | None = None
    has_header: bool = True
    line_end: str = "\n"

    def cell(self, text: str | None, *, quote: bool = False) -> str:
        """Write a value; None is NULL."""
        if text is None:
            return self.null
        marks = (self.delimiter, self.quote, "\n", "\r")
        if quote or text in (self.null, self.default, "\\.") or any(mark in text for mark in marks):
            for mark in dict.fromkeys((self.escape, self.quote)):
                text = text.replace(mark, self.escape + mark)
            return self.quote + text + self.quote
        return text

    @property
    def options(self) -> dict[str, Any]:
        """Return the csv options of a request."""
        plain = Dialect()
        given: dict[str, Any] = {
            name.upper(): getattr(self, name)
            for name in ("delimiter", "null", "quote", "encoding", "default")
            if getattr(self, name) != getattr(plain, name)
        }
        if self.escape != self.quote:
            given["ESCAPE"] = self.escape
        return given if self.has_header else given | {"HEADER": False}


@dataclass(frozen=True)
class Archive:
    """A file, and what it is meant to say.

    Attributes:
        dialect: how it is written.
        names: its columns, under the table's names; None: the request leaves the column out.
        in_file: the same as the file names them.
        records: its rows, as they are written.
        odd: bytes that do not belong there, and where they are behind the header.
        has_mark: a byte order mark begins it.
        is_ended: its last line has an end.
        force_null: columns for COPY's option.
        force_not_null: columns for COPY's option.
    """

    dialect: Dialect
    names: tuple[str | None, ...]
    in_file: tuple[str, ...]
    records: tuple[str, ...]
    odd: tuple[int, bytes] | None = None
    has_mark: bool = False
    is_ended: bool = True
    force_null: tuple[str, ...] = ()
    force_not_null: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes behind a byte order mark."""
        dialect = self.dialect
        header = [dialect.delimiter.join(map(dialect.cell, self.in_file))] if dialect.has_header else []
        lines = [*header, *self.records]
        text = dialect.line_end.join(lines) + (dialect.line_end if lines and self.is_ended else "")
        data = text.encode(ENCODINGS[dialect.encoding])
        if self.odd is None:
            return data
        begin = len("".join(line + dialect.line_end for line in header).encode(ENCODINGS[dialect.encoding]))
        if len(data) < begin:
            # A header without an end: behind it is still its last name.
            return data
        at = begin + self.odd[0] % max(len(data) - begin + 1, 1)
        return data[:at] + self.odd[1] + data[at:]

    @property
    def csv(self) -> bytes:
        return (MARK if self.has_mark else b"") + self.body

    @property
    def kept(self) -> list[str]:
        """The names of the columns that are not left out."""
        return [name for name in self.names if name is not None]


@dataclass(frozen=True)
class Step:
    """An archive, and the request to restore it.

    Attributes:
        archive: the file.
        request: without `adls_url` and `pg`.
        members: how many gzip members the file is stored as.
        tried: what dry run comes before it; False: none.
    """

    archive: Archive
    request: dict[str, Any]
    members: int
    tried: bool | Literal["full"]

    @property
    def destination(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request.get("destination", {})
        return found

    @property
    def copy(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request.get("copy", {})
        return found

    @property
    def is_staged(self) -> bool:
        return bool(self.destination.get("mode") == "staging")

    @property
    def timescaledb(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request.get("timescaledb", {})
        return found

    @property
    def policy(self) -> str:
        return str(self.destination.get("on_existing") or ("append" if self.is_staged else "error"))

    @property
    def stored(self) -> bytes:
        """The file as it is stored."""
        csv = self.archive.csv
        size = len(csv) // self.members + 1
        return b"".join(gzip.compress(csv[at : at + size]) for at in range(0, len(csv) or 1, size))

    def __repr__(self) -> str:
        request = json.dumps(self.request, ensure_ascii=False)
        tried = f"\n-- first with dry_run: {json.dumps(self.tried)}" if self.tried else ""
        return f"-- archive of {DAY.isoformat()}: {self.archive.csv!r}{tried}\n-- request: {request}"


@dataclass(frozen=True)
class Faults:
    """How many percent of what can be wrong in an archive is wrong.

    Attributes:
        outside: times of other days, and rows that are there twice.
        bad: values that PostgreSQL refuses, and missing or further cells.
        nulls: nulls where there may be none.
        drift: columns that the table lacks.
        odd: bytes that do not belong there.
    """

    outside: int = 0
    bad: int = 0
    nulls: int = 0
    drift: int = 0
    odd: int = 0


_FAULTS = (
    *(Faults(outside=50), Faults(outside=10), Faults(bad=6), Faults(nulls=10), Faults(drift=90), Faults(odd=90)),
    Faults(10, 3, 3, 20, 20),
)


def draw_step(draw: Draw, table: Table, server: Server) -> Step:
    """Draw an archive for a table, and a request."""
    faults = draw.pick(*_FAULTS) if draw.chance(45) else Faults()
    destination = _destination(draw, table)
    is_staged = destination.get("mode") == "staging"
    archive = _archive(draw, table, server, faults, is_staged=is_staged)
    request: dict[str, Any] = {}
    if destination:
        request["destination"] = destination
    copy = _copy(draw, table, server, archive, faults, is_staged=is_staged)
    if copy:
        request["copy"] = copy
    if draw.chance(12):
        request["verify"] = False
    if table.is_hypertable and draw.chance(50):
        request["timescaledb"] = {
            "decompress_window": draw.choice([True, False, False, "auto"]),
            "recompress_window": draw.chance(50),
            "compress_new_chunks": draw.chance(50),
        }
    if table.bucket_hours is not None and draw.chance(75):
        request.setdefault("timescaledb", {})["refresh_caggs"] = "all"
    tried: bool | Literal["full"] = draw.choice([True, "full"]) if draw.chance(25) else False
    return Step(archive, request, draw.pick(1, 1, 1, 2), tried)


def _destination(draw: Draw, table: Table) -> dict[str, Any]:
    destination: dict[str, Any] = {"mode": "staging"} if draw.chance(45) else {}
    policy = draw.pick(None, "append", "append", "error", "skip", *["replace"] * 7)
    if policy is not None:
        destination["on_existing"] = policy
    if policy == "replace":
        destination["min_rows_ratio"] = draw.pick(0, 0, 0, 0.25, 0.5, 1)
        if table.on_delete is not None and draw.chance(60):
            destination["on_referenced"] = "allow"
    elif draw.chance(25):
        destination["rows_outside_window"] = "allow"
    if "mode" in destination and draw.chance(15):
        destination["create_staging_like"] = "like"
    if any(column.is_numbered for column in table.columns) and draw.chance(40):
        destination["sequences"] = "advance"
    is_found = table.day_column(None) == (table.time_name, table.time)
    if table.time is not None and draw.chance(10 if is_found else 85):
        destination["time_column"] = table.time_name
    return destination


def _copy(
    draw: Draw, table: Table, server: Server, archive: Archive, faults: Faults, *, is_staged: bool
) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    if draw.chance(40):
        copy["transfer"] = draw.pick("spool", "stream")
    if draw.chance(60):
        copy["format"] = draw.pick("text", "binary", "binary", "binary")
    if draw.chance(20):
        copy["indexes"] = "keep"
    if is_staged and faults.bad and server.postgresql >= PG_17:
        copy |= {"on_error": "skip", "max_rejected_rows": draw.pick(100, 100, 1, 0)}
    if draw.chance(8):
        copy["expected_rows"] = draw.pick(len(archive.records), draw.randrange(9))
    return copy | _reading(draw, table, archive)


def _reading(draw: Draw, table: Table, archive: Archive) -> dict[str, Any]:
    """Say in the request how the file is to be read."""
    options = archive.dialect.options
    if archive.dialect.has_header and archive.names == table.writable and draw.chance(10):
        options["HEADER"] = "match"
    forced = {"FORCE_NULL": archive.force_null, "FORCE_NOT_NULL": archive.force_not_null}
    options |= {name: list(columns) for name, columns in forced.items() if columns}
    mapped = {old: new for old, new in zip(archive.in_file, archive.names, strict=True) if old != new}
    columns = None if archive.dialect.has_header else list(archive.in_file)
    reading = {"csv_options": options, "column_map": mapped, "columns": columns}
    return {name: value for name, value in reading.items() if value}


def _archive(draw: Draw, table: Table, server: Server, faults: Faults, *, is_staged: bool) -> Archive:
    dialect = _dialect(draw, server)
    columns: dict[str, Column] = {column.name: column for column in table.columns}
    names = [name for name in table.writable if _is_given(draw, table, columns.get(name))] or [table.writable[0]]
    if draw.chance(40):
        draw.shuffle(names)
    generated = [column.name for column in table.columns if column.is_generated]
    if draw.chance(faults.drift):
        names.insert(draw.randint(0, len(names)), "gone too")
    if generated and is_staged and draw.chance(40):
        names.insert(draw.randint(0, len(names)), generated[0])
    left_out = draw.pick(*(name for name in names if name not in table.numbered_key), None) if draw.chance(8) else None
    in_file = [f"f{place}" if draw.chance(10) else name for place, name in enumerate(names)]
    if left_out is not None and dialect.has_header and draw.chance(30):
        in_file[names.index(left_out)] = ""
    able = [name for name in names if name in table.writable and name != left_out]
    archive = Archive(
        dialect=dialect,
        names=tuple(None if name == left_out else name for name in names),
        in_file=tuple(in_file),
        records=_records(draw, table, dialect, names, faults),
        is_ended=not draw.chance(15),
        force_null=tuple(draw.some(able, 2)) if draw.chance(10) else (),
        force_not_null=tuple(draw.some(able, 2)) if draw.chance(10) else (),
    )
    try:
        archive.csv  # noqa: B018 - whether the encoding has all letters
    except UnicodeEncodeError:
        archive = replace(archive, dialect=replace(dialect, encoding="UTF8"))
    if draw.chance(faults.odd):
        piece = draw.pick(b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\\.", b"\n\\.\n", b"\n\n")
        archive = replace(archive, odd=(draw.randrange(1000), piece))
    return replace(archive, has_mark=archive.dialect.encoding == "UTF8" and draw.chance(10))


def _is_given(draw: Draw, table: Table, column: Column | None) -> bool:
    """Whether a file has the column; None is the time column."""
    if column is None or column.name in table.numbered_key:
        return True
    return not draw.chance(2 if column.rest == " NOT NULL" else 12)


def _dialect(draw: Draw, server: Server) -> Dialect:
    if draw.chance(55):
        return Dialect()
    quote = draw.pick('"', '"', "'", "|")
    delimiter = draw.pick(*(mark for mark in (",", ";", "\t", "|", "a") if mark != quote))
    return Dialect(
        delimiter=delimiter,
        null=draw.pick(*(mark for mark in ("", "NULL", "\\N", "-") if delimiter not in mark and quote not in mark)),
        quote=quote,
        escape=draw.pick(quote, quote, "\\", "^"),
        encoding=draw.pick(*ENCODINGS),
        default="~" if server.postgresql >= PG_16 and draw.chance(20) else None,
        has_header=not draw.chance(20),
        line_end=draw.pick("\n", "\r\n"),
    )


def _records(draw: Draw, table: Table, dialect: Dialect, names: list[str], faults: Faults) -> tuple[str, ...]:
    columns = {column.name: column for column in table.columns}
    quotes, is_plain = draw.pick(0, 0, 20, 100), draw.chance(50)
    records: list[str] = []
    times: set[str | None] = set()
    for _ in range(draw.randint(0, draw.pick(2, 8, 30))):
        if records and draw.chance(12 if faults.outside or faults.bad else 3):
            records.append(draw.pick(*records))
            continue
        cells: list[str] = []
        for name in names:
            value = _value(draw, table, name, columns.get(name), faults, is_plain=is_plain)
            if name == table.time_name and not (faults.outside or faults.bad):
                # Few rows of one time, or they are in conflict with each other.
                value = value if value not in times else _value(draw, table, name, None, faults, is_plain=is_plain)
                times.add(value)
            has_default = dialect.default is not None and name in columns and not columns[name].is_numbered
            is_default = has_default and draw.chance(10)
            cells.append(str(dialect.default) if is_default else dialect.cell(value, quote=draw.chance(quotes)))
        if draw.chance(faults.bad // 2):
            cells = draw.pick(cells[:-1], [*cells, "1"])
        records.append(dialect.delimiter.join(cells))
    return tuple(records)


def _value(draw: Draw, table: Table, name: str, column: Column | None, faults: Faults, *, is_plain: bool) -> str | None:
    """Draw a value as text; None is NULL."""
    is_bad = draw.chance(faults.bad)
    if draw.chance(faults.nulls):
        return None
    if name == table.time_name and table.time is not None:
        return draw.pick("nix", "2025-02-30") if is_bad else time_text(draw, table.time, outside=faults.outside)
    if column is None:
        return draw.pick("1", "what was there", None)
    if is_bad:
        return draw.pick(*column.type.bad or column.type.good)
    can_be_null = "NOT NULL" not in column.rest and not column.is_numbered
    return (
        None if can_be_null and draw.chance(10) else draw.pick(*(column.type.plain if is_plain else column.type.good))
    )
