"""pg_dump writes the same of a day that was loaded either way, and what it writes can be restored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.errors
import pytest

from tests.integration.fix_chunk import Day, make_day
from tests.integration.fix_database import Database, new_database
from tests.integration.fix_programs import run_program

EDITIONS = ["RESTORE_TEST_DSN", pytest.param("RESTORE_TEST_COMMUNITY_DSN", marks=pytest.mark.community)]


@contextmanager
def database_of_its_own(variable: str) -> Iterator[Database]:
    with new_database(variable) as connection:
        yield Database(connection, connection.info.dbname, "s")


def dump_of(variable: str, *, deferred: bool) -> str:
    """Load the day in a new database, and dump it."""
    with database_of_its_own(variable) as database:
        database.execute("CREATE SCHEMA {s}")
        for day in make_day(database):
            with day.transaction("COMMIT"):
                codes = day.load(deferred=deferred)
            assert codes <= {"TimescaleDBVersion"}
        return run_program(database, "pg_dump", "--no-owner")


def lines_of(dump: str) -> list[str]:
    """Take out when the extension, the chunk and the columns (`pg_attver`) were made, and psql's one-time key."""
    made = r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00\b|(?<=restrict )\w+|pg_attver=\d+"
    return re.sub(made, "N", dump).splitlines()


@pytest.mark.parametrize("variable", EDITIONS)
def test_a_dump_is_the_same_and_can_be_restored(variable: str) -> None:
    dump = dump_of(variable, deferred=True)
    assert lines_of(dump) == lines_of(dump_of(variable, deferred=False))
    with database_of_its_own(variable) as database:
        database.execute("SELECT public.timescaledb_pre_restore()")
        run_program(database, "psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--output", "/dev/null", stdin=dump)
        database.execute("SELECT public.timescaledb_post_restore()")
        with database.connection.cursor() as cursor:
            check_restored(Day(database, cursor))


def check_restored(day: Day) -> None:
    assert day.value("SELECT count(*) FROM {s}.t") == 501
    assert {"pk", "un", "u", "e", 'odd "name", 50% {y}'} <= set(day.indexes)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        day.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 1)")
    day.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 1) ON CONFLICT DO NOTHING")
    day.execute("INSERT INTO {s}.t VALUES ('2025-01-01', 1) ON CONFLICT (time, d) DO UPDATE SET n = 3")
    assert day.value("SELECT count(*) FILTER (WHERE n = 3) || ' of ' || count(*) FROM {s}.t") == "1 of 501"
    day.execute("ALTER TABLE {s}.t DROP CONSTRAINT pk; DROP INDEX {s}.u")
    assert not {"pk", "u"} & set(day.indexes)
