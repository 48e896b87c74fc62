"""How much of what a server says is kept: NOTICEs by the million, and errors of any length.

Memory is measured in a process of its own, after a small restore that loads what a restore needs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from shared.csvfile.source import CopyReader
from shared.postgres.libpq import hide_texts
from shared.postgres.limited_cursor import LONGEST_FIELD, LimitedCursor, limited_connection
from tests.integration.fix_app import App
from tools.config import REPOSITORY

# Prints the answer to the second request, and by how many bytes the process grew for it at most.
_PROGRAM = """
import json, re, sys
from pathlib import Path
from RestoreChunk import main
from tests.fix_call import http_request

def restore(request):
    return json.loads(main(http_request(json.dumps(request).encode())).get_body())

def kib(name):
    return int(re.search(rf"^{name}:\\s+(\\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)[1])

small, large = json.load(sys.stdin)
restore(small)
Path("/proc/self/clear_refs").write_text("5")  # reset the peak
before = kib("VmRSS")
answer = restore(large)
print(json.dumps([answer, (kib("VmHWM") - before) << 10]))
"""
MIB = 1 << 20
SKIP = {"destination": {"mode": "staging", "on_existing": "append"}, "verify": False}
FIRST_WITH_ON_ERROR = 170000


@pytest.fixture
def skips(app: App) -> App:
    if app.database.connection.server_version < FIRST_WITH_ON_ERROR:
        pytest.skip("ON_ERROR takes PostgreSQL 17")
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int)")
    return app


def grown(app: App, request: dict[str, Any]) -> tuple[dict[str, Any], int]:
    app.database.execute("CREATE TABLE {s}.small (time timestamptz, v int)")
    small = {"adls_url": app.archive("small", b"time,v\n2025-01-01,1\n"), "pg": app.database.pg}
    small |= {"destination": request.get("destination", {})}
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=REPOSITORY,
        env=os.environ | {"CSV_MAX_EXPANSION": "1032"},
        input=json.dumps([small, request | {"pg": app.database.pg}]),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    answer, size = json.loads(ran.stdout.splitlines()[-1])
    return answer, size


@pytest.mark.any_server
def test_a_million_rows_that_are_skipped_take_no_memory(skips: App) -> None:
    """They took 180 MiB."""
    rows = 1_000_000
    url = skips.archive("t", b"v\n" + b"x\n" * rows)
    answer, size = grown(skips, {"adls_url": url, "copy": {"on_error": "skip", "max_rejected_rows": rows}} | SKIP)
    assert (answer.get("rows_rejected"), answer.get("rejected_lines")) == (rows, list(range(2, 102))), answer
    assert size < 40 * MIB, size


@pytest.mark.any_server
def test_a_copy_ends_as_soon_as_too_many_rows_are_skipped(skips: App, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, handed_out = 3_000_000, 0
    url = skips.archive("t", b"v\n" + b"x\n" * rows)
    monkeypatch.setenv("CSV_MAX_EXPANSION", "1032")
    read = CopyReader.read

    def counted(reader: CopyReader, size: int) -> bytes:
        nonlocal handed_out
        block = read(reader, size)
        handed_out += len(block)
        return block

    monkeypatch.setattr(CopyReader, "read", counted)
    for most in (0, 1000):
        handed_out = 0
        answer = skips.restore(url, copy={"on_error": "skip", "max_rejected_rows": most}, **SKIP)
        assert (answer.status, answer.code) == (422, "TooManyRejectedRows"), answer.body
        # The first hundred lines are named all the same.
        assert answer.body["error"]["details"][0]["lines"] == list(range(2, 102))
        # What fits into the sockets is on its way before the first NOTICE is back.
        assert 0 < handed_out < 2 * rows * 0.9
    assert skips.database.value("SELECT count(*) FROM {s}.t") == 0


def test_the_notices_of_a_default_do_not_count_as_rejected_rows(skips: App) -> None:
    """They were counted with those of the rows, so that no line was named."""
    skips.database.execute(
        "CREATE FUNCTION {s}.talk() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE 'row 77'; RETURN 1; END$$"
    )
    skips.database.execute("ALTER TABLE {s}.t ADD COLUMN n int DEFAULT {s}.talk()")
    url = skips.archive("t", b"time,v\n2025-01-01,1\n2025-01-01,x\n2025-01-01,3\n")
    body = skips.restore(url, copy={"on_error": "skip", "max_rejected_rows": 1}, **SKIP).body
    assert (body["rows_rejected"], body["rejected_lines"]) == (1, [3])


@pytest.mark.parametrize("level", ["NOTICE", "INFO"])
def test_what_a_trigger_says_of_each_row_is_not_kept(app: App, level: str) -> None:
    """The server sends INFO whatever it is asked for: here 200 MB of it."""
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute(
        "CREATE FUNCTION {s}.talk() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN RAISE {level} '%', pg_catalog.repeat('x', 10000); RETURN NEW; END$$"
    )
    app.database.execute("CREATE TRIGGER talk BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.talk()")
    rows = 20_000
    url = app.archive("t", b"time,v\n" + b"2025-01-01,1\n" * rows)
    answer, size = grown(app, {"adls_url": url})
    assert answer["rows_loaded"] == rows, answer
    assert size < 40 * MIB, size


def test_a_long_error_is_read_and_then_cut(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz NOT NULL, v int)")
    app.database.execute(
        "CREATE FUNCTION {s}.talk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION '%', pg_catalog.repeat('x', 50000000); END$$"
    )
    app.database.execute("CREATE TRIGGER talk BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.talk()")
    answer, size = grown(app, {"adls_url": app.archive("t", b"time,v\n2025-01-01,1\n")})
    assert answer["error"]["code"] == "DataRejected"
    # docs/security.md has the bound: six times its length.
    assert size < 6 * 50_000_000, size


@pytest.mark.parametrize("length", [LONGEST_FIELD, LONGEST_FIELD + 1, 1_000_000])
def test_an_error_keeps_its_type_and_its_fields_but_not_their_length(app: App, length: int) -> None:
    pg = app.database.pg
    with (
        closing(
            psycopg2.connect(
                host=pg["host"],
                port=pg["port"],
                user=pg["user"],
                password=pg["password"],
                dbname=app.database.name,
                connection_factory=limited_connection(60),
                cursor_factory=LimitedCursor,
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        hide_texts(connection)
        with pytest.raises(psycopg2.errors.UniqueViolation) as caught:
            cursor.execute(
                "DO $$BEGIN RAISE unique_violation USING MESSAGE = pg_catalog.repeat('x', " + str(length) + "),"
                " CONSTRAINT = 'k'; END$$"
            )
    error = caught.value
    assert (error.pgcode, error.diag.constraint_name, error.cursor) == ("23505", "k", cursor)
    assert error.diag.message_primary == "x" * min(length, LONGEST_FIELD)
    # Nothing else keeps the long one.
    assert (error.__context__, error.__cause__) == (None, None)
