"""A whole file in binary into a real table: the rows of the text way, or the text way's own refusal."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TypeAlias

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class, whatever psycopg2 calls it

from shared.archive.csv_sources import StreamedCsv, spooled_csv
from shared.archive.gunzip import gunzip
from shared.binary.eligibility import FEWEST_BYTES
from shared.csvfile.options import CsvOptions
from shared.csvfile.source import CsvSource
from shared.errors import (
    ArchiveTruncated,
    DatabasePermissionDenied,
    DatabaseUnreachable,
    DataRejected,
    RestoreCanceled,
)
from shared.load.copy.binary import Taken, columns_of_file, copy_in_binary, reason_for_text_before_copy
from shared.load.copy.staging import make_staging
from shared.load.copy.text import copy_into
from shared.load.plan import Fallback
from shared.names import QualifiedName
from shared.postgres.timeouts import SessionSettings, set_transaction_limits
from shared.timescale.table import Table, find_table
from tests.integration.fix_database import Database

Open: TypeAlias = Callable[[bytes], AbstractContextManager[CsvSource]]

OPTIONS = CsvOptions()
COLUMNS = "time timestamptz NOT NULL, device integer, value double precision, note varchar(40)"
HEADER = b"time,device,value,note\n"
LINES = [
    b'2025-01-01 %02d:%02d:%02d+00,%d,%d.%03d,"number ""%d"""\n'
    % (n // 3600 % 24, n // 60 % 60, n % 60, n, n % 50, n % 997, n)
    for n in range(50_000)
]


def unpacked(packed: Sequence[bytes]) -> Generator[bytes, None, None]:
    return gunzip(iter(packed), max_bytes=1 << 30, max_expansion=1_000_000)


@contextmanager
def spool(packed: bytes) -> Iterator[CsvSource]:
    with spooled_csv(unpacked([packed]), max_memory_bytes=1 << 20) as csv:
        yield csv


@contextmanager
def stream(packed: bytes) -> Iterator[CsvSource]:
    blocks = [packed[at : at + 100_000] for at in range(0, len(packed), 100_000)]
    yield StreamedCsv(lambda: unpacked(blocks), OPTIONS.dialect, len(packed))


BOTH = pytest.mark.parametrize("opened", [spool, stream])


@pytest.fixture
def cursor(database: Database) -> Iterator[Cursor]:
    """A cursor in the load's transaction, which is rolled back in the end."""
    with database.connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        set_transaction_limits(cursor, SessionSettings(5, 60, others={"synchronous_commit": "off"}))
        yield cursor
        cursor.execute("ROLLBACK")


def table_of(cursor: Cursor, database: Database, name: str = "t") -> Table:
    return find_table(cursor, QualifiedName(database.schema, name))


def names_in(csv: CsvSource) -> list[str]:
    csv.head.seek(0)
    line = csv.head.readline().decode("utf-8-sig")
    csv.head.seek(0)
    return line.strip().replace('"', "").split(",")


def copy(cursor: Cursor, database: Database, csv: CsvSource, name: str = "t") -> Taken:
    table = table_of(cursor, database, name)
    columns = columns_of_file(names_in(csv), table, table)
    assert reason_for_text_before_copy(cursor, columns, OPTIONS, csv, csv_bytes=None) is None
    return copy_in_binary(cursor, table.identifier, columns, OPTIONS, csv)


def copy_as_text(cursor: Cursor, database: Database, csv: CsvSource, name: str = "t") -> int:
    with csv.open() as reader:
        return copy_into(cursor, table_of(cursor, database, name).identifier, names_in(csv), OPTIONS, reader)


def threads_of_ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("gunzip", "encode"))]


@BOTH
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_rows_are_those_of_the_text_way(database: Database, cursor: Cursor, opened: Open, mark: bytes) -> None:
    database.hypertable("t", COLUMNS)
    database.execute("CREATE TABLE {s}.plain (LIKE {s}.t)")
    with opened(gzip.compress(mark + HEADER + b"".join(LINES), 1)) as csv:
        assert copy(cursor, database, csv).rows == len(LINES)
        assert copy_as_text(cursor, database, csv, "plain") == len(LINES)
    assert database.fetch("TABLE {s}.t EXCEPT ALL TABLE {s}.plain") == []
    assert database.fetch("TABLE {s}.plain EXCEPT ALL TABLE {s}.t") == []
    assert threads_of_ours() == []


def make_unique(database: Database) -> None:
    database.execute("CREATE UNIQUE INDEX ON {s}.t (time, device)")


def make_check(database: Database) -> None:
    database.execute("ALTER TABLE {s}.t ADD CHECK (device >= 0)")


def make_trigger(database: Database, body: str) -> None:
    database.execute(
        f"CREATE FUNCTION {{s}}.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;"
        "CREATE TRIGGER f BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.f()"
    )


def nothing(_: Database) -> None:
    pass


@BOTH
@pytest.mark.parametrize(
    ("prepare", "line", "reason", "text_takes_it"),
    [
        (nothing, b"2025-01-01 00:00:00.1234567+00,1,1,a", "not a plain timestamptz", True),
        (nothing, b"2025-01-01 00:00:00+00,+1,1,a", "not a plain integer", True),
        (nothing, b"2025-01-01 00:00:00+00,1,one,a", "not a plain double precision", False),
        (nothing, b"2025-01-01 00:00:00+00,1,1", "a record has too few or too many cells", False),
        (nothing, b"2025-01-01 00:00:00+00,1,1," + b"x" * 41, "the server refused a row with SQLSTATE 22001", False),
        (nothing, b"2025-01-01 00:00:00+00,1,1," + b"x" * 39 + b"  ", "", True),
        (nothing, b"2025-01-01 00:00:00+00,1,1,\xff", "the server refused a row with SQLSTATE 22021", False),
        (nothing, b",1,1,a", "the server refused a row with SQLSTATE 23502", False),
        (make_unique, LINES[7].strip(), "the server refused a row with SQLSTATE 23505", False),
        (make_check, b"2025-01-01 00:00:00+00,-1,1,a", "the server refused a row with SQLSTATE 23514", False),
        (
            partial(make_trigger, body="IF NEW.device < 0 THEN RAISE 'no'; END IF;"),
            b"2025-01-01 00:00:00+00,-1,1,a",
            "the server refused a row with SQLSTATE P0001",
            False,
        ),
        (
            partial(make_trigger, body="IF NEW.device < 0 THEN RETURN NULL; END IF;"),
            b"2025-01-01 00:00:00+00,-1,1,a",
            "of 50001 rows, 50001 were encoded and 50000 accepted",
            True,
        ),
    ],
)
def test_what_a_row_is_to_blame_for_is_left_to_the_text_way(
    database: Database,
    cursor: Cursor,
    opened: Open,
    prepare: Callable[[Database], None],
    line: bytes,
    reason: str,
    text_takes_it: bool,
) -> None:
    database.hypertable("t", COLUMNS)
    prepare(database)
    with opened(gzip.compress(HEADER + b"".join(LINES) + line + b"\n", 1)) as csv:
        cursor.execute("SAVEPOINT before_copy")
        if reason:
            with pytest.raises(Fallback) as caught:
                copy(cursor, database, csv)
            assert caught.value.text_because == reason
        else:
            assert copy(cursor, database, csv).rows == len(LINES) + 1
        assert threads_of_ours() == []
        cursor.execute("ROLLBACK TO before_copy")
        assert database.value("SELECT count(*) FROM {s}.t") == 0
        if text_takes_it:
            assert copy_as_text(cursor, database, csv) in (len(LINES), len(LINES) + 1)
        else:
            with pytest.raises(DataRejected) as refused:
                copy_as_text(cursor, database, csv)
            assert f"line {len(LINES) + 2}" in refused.value.message


@BOTH
def test_a_row_more_in_the_archive_than_were_encoded(database: Database, cursor: Cursor, opened: Open) -> None:
    database.hypertable("t", COLUMNS)
    with opened(gzip.compress(HEADER + LINES[0])) as csv:
        csv.drain()
        table = table_of(cursor, database)
        columns = columns_of_file(names_in(csv), table, table)

        class CountedOtherwise:
            head, size, probable_size, ends_with_marker = csv.head, csv.size, csv.probable_size, False
            drain, open, records, preamble = csv.drain, csv.open, 3, csv.preamble

        with pytest.raises(Fallback, match="of 2 rows, 1 were encoded and 1 accepted"):
            copy_in_binary(cursor, table.identifier, columns, OPTIONS, CountedOtherwise())


def test_an_archive_that_is_cut_short_is_not_for_the_text_way(database: Database, cursor: Cursor) -> None:
    database.hypertable("t", COLUMNS)
    packed = gzip.compress(HEADER + b"".join(LINES), 1)
    with stream(packed[:-100]) as csv, pytest.raises(ArchiveTruncated):
        copy(cursor, database, csv)
    assert threads_of_ours() == []


def test_what_no_row_is_to_blame_for_is_not_for_the_text_way(database: Database, cursor: Cursor) -> None:
    database.hypertable("t", COLUMNS)
    with stream(gzip.compress(HEADER + b"".join(LINES), 1)) as csv:
        cursor.execute("SAVEPOINT before_copy")
        make_trigger(database, body="PERFORM pg_cancel_backend(pg_backend_pid());")
        with pytest.raises(RestoreCanceled) as caught:
            copy(cursor, database, csv)
        # It would be the number of a binary row, and not of a line.
        assert dict(caught.value.details[0].info) == {"sqlstate": "57014"}
        cursor.execute("ROLLBACK TO before_copy")
        # Rolled back with the rest.
        database.execute(
            "CREATE ROLE {s}; GRANT USAGE ON SCHEMA {s} TO {s}; GRANT SELECT ON {s}.t TO {s}; SET LOCAL ROLE {s}"
        )
        with pytest.raises(DatabasePermissionDenied):
            copy(cursor, database, csv)
        cursor.execute("ROLLBACK TO before_copy")
    assert threads_of_ours() == []


def test_a_connection_that_breaks_is_not_for_the_text_way(database: Database) -> None:
    database.hypertable("t", COLUMNS)
    info = database.connection.info
    other = psycopg2.connect(host=info.host, port=info.port, user=info.user, password=info.password, dbname=info.dbname)

    def cut() -> Generator[bytes, None, None]:
        yield HEADER + b"".join(LINES)
        database.execute("SELECT pg_terminate_backend(%s)", other.info.backend_pid)
        for _ in range(200):
            yield b"".join(LINES)

    with other.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        table = table_of(cursor, database)
        csv = StreamedCsv(cut, OPTIONS.dialect, stored_size=1)
        with pytest.raises(DatabaseUnreachable):
            copy_in_binary(cursor, table.identifier, table.columns, OPTIONS, csv)
    assert threads_of_ours() == []
    other.close()


def against(cursor: Cursor, database: Database, data: bytes, csv_bytes: int | None = 0) -> str | None:
    table = table_of(cursor, database)
    with spool(gzip.compress(data, 1)) as csv:
        reason = reason_for_text_before_copy(
            cursor, columns_of_file(names_in(csv), table, table), OPTIONS, csv, csv_bytes=csv_bytes
        )
        assert csv.head.tell() == 0
    return reason


def test_obstacles_that_show_before_anything_is_written(database: Database, cursor: Cursor) -> None:
    database.hypertable("t", COLUMNS)
    assert against(cursor, database, HEADER + LINES[0]) == "the file is small"
    assert against(cursor, database, HEADER + LINES[0], csv_bytes=None) is None
    assert against(cursor, database, HEADER + LINES[0], csv_bytes=FEWEST_BYTES - 1) == "the file is small"
    assert against(cursor, database, HEADER + LINES[0], csv_bytes=FEWEST_BYTES) is None
    marked = b'\xef\xbb\xbf"time",device,value,note\n'
    assert against(cursor, database, marked + LINES[0], csv_bytes=None) is None
    odd = HEADER + b"2025-01-01 00:00:00+00,1, 1,a\n"
    assert against(cursor, database, odd, csv_bytes=None) == "not a plain double precision"
    for setting, value, reason in (
        ("timezone", "Europe/Vienna", "the session's TimeZone is not UTC"),
        ("client_encoding", "LATIN1", "the session's client_encoding is not UTF8"),
    ):
        cursor.execute(f"SET LOCAL {setting} = '{value}'")
        assert against(cursor, database, HEADER + LINES[0], csv_bytes=None) == reason
        cursor.execute(
            f"SET LOCAL {setting} = 'UTF8'" if setting == "client_encoding" else "SET LOCAL timezone = 'UTC'"
        )


def test_a_staging_table_takes_the_file_as_it_is(database: Database, cursor: Cursor) -> None:
    database.hypertable("t", COLUMNS)
    database.execute("CREATE TABLE {s}.like_this (time text, device bigint)")
    table, like = table_of(cursor, database), table_of(cursor, database, "like_this")
    names = ["time", "device", "value", "more"]
    columns = columns_of_file(names, table, like)
    assert [column.type_sql for column in columns] == ["text", "bigint", "double precision", "text"]
    staging = make_staging(cursor, table, like, names, "0")
    options = CsvOptions(force_null=("more",))
    with spool(gzip.compress(b'time,device,value,more\nany time,9,0.5,""\n')) as csv:
        assert reason_for_text_before_copy(cursor, columns, options, csv, csv_bytes=None) is None
        copy_in_binary(cursor, staging.identifier, columns, options, csv, staging.columns)
    cursor.execute(f"SELECT time, device, value, {staging.columns[3]} FROM {database.schema}._restore_0")
    assert cursor.fetchall() == [("any time", 9, 0.5, None)]
