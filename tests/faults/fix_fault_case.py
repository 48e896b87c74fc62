"""A table with neighbours, a request for its day, and what must hold after the request has met a fault."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.postgres.connect import APPLICATION_NAME
from shared.postgres.kept import IDLE_NAME
from tests.faults.fix_aftermath import Aftermath
from tests.faults.fix_copies import COPIES, MIXED_COPIES, check_way
from tests.faults.fix_quiet import CANARY
from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import PATIENCE_SECONDS
from tests.integration.fix_threads import Call
from tools.process import wait_until

# A row with this number waits in the COPY while a `gate` is shut.
GATE = 1_000_001
SECOND_GATE = 1_000_002

# The second of both replaced days shares its chunk with its neighbours: the day is deleted, not truncated.
_DESTINATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "direct": ({"mode": "direct"}, "1 day"),
    "staging": ({"mode": "staging"}, "1 day"),
    "direct-replace": ({"mode": "direct", "on_existing": "replace"}, "1 day"),
    "staging-replace": ({"mode": "staging", "on_existing": "replace"}, "7 days"),
}


def _cases(copies: dict[str, dict[str, Any]]) -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    """Give each case a name: what the request says of the destination and of the COPY, and how long a chunk is."""
    return {
        f"{name}-{copy}": (destination, way, interval)
        for name, (destination, interval) in _DESTINATIONS.items()
        for copy, way in copies.items()
    }


CASES = _cases(COPIES)
# Each mode, each policy and each way of the COPY meets each of the others once. Where a fault has every case already,
# what else breaks the same session is shown in these.
PAIRS = ["direct-plain", "staging-fast", "direct-replace-fast", "staging-replace-plain"]
_ALL_CASES = CASES | _cases(MIXED_COPIES)


@dataclass
class FaultCase:
    """`app` may be replaced by one with a new connection, when the server was started again."""

    app: App
    destination: dict[str, Any]
    copy: dict[str, Any]
    spool: Path
    interval: str = "1 day"
    rows: int = 20
    url: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    before: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def is_replace(self) -> bool:
        return bool(self.destination.get("on_existing") == "replace")

    @property
    def is_staging(self) -> bool:
        return bool(self.destination["mode"] == "staging")

    def prepare(self, *, tablespace: str | None = None) -> None:
        """Make the table, with the day before and after, and the day itself where it is to be replaced."""
        database = self.app.database
        database.execute(
            "CREATE FUNCTION {s}.gate(n int) RETURNS bool LANGUAGE plpgsql SET lock_timeout = 0 AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(n); RETURN true; END $$"
        )
        if tablespace:
            database.execute(f"SET default_tablespace = {tablespace}")
        # A staging table is made like it, the CHECK included: the gate is in every COPY.
        check = f'CHECK (v < {GATE} OR "{database.schema}".gate(v))'
        columns = f"time timestamptz PRIMARY KEY, v int {check}, note text"
        database.hypertable("t", columns, interval=f"interval '{self.interval}'")
        database.execute("RESET default_tablespace")
        database.execute("INSERT INTO {s}.t VALUES ('2024-12-31 23:59:59.999999Z', -1), ('2025-01-02 00:00Z', -2)")
        if self.is_replace:
            database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:00Z', -3), ('2025-01-01 23:00Z', -4)")
        self.before = self.table()
        self.url = self.app.archive("t", self.csv())

    def numbers(self) -> list[int]:
        """Return the archive's column v: the gates stand in its middle."""
        half = self.rows // 2
        return [*range(half), GATE, SECOND_GATE, *range(half, self.rows)]

    def csv(self, day: int = 1) -> bytes:
        """Return the archive of a day of January."""
        lines = (
            f"2025-01-{day:02} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z,{number},{CANARY}"
            for second, number in enumerate(self.numbers())
        )
        return "\n".join(["time,v,note", *lines, ""]).encode()

    def body(self) -> dict[str, Any]:
        """Return the request; the same one every time."""
        pg = self.app.database.pg
        return {"adls_url": self.url, "pg": pg, "destination": self.destination, "copy": self.copy} | self.request

    def job_body(self) -> dict[str, Any]:
        """Return the request for the queue, which holds no secret: the settings name the server."""
        return {name: value for name, value in self.body().items() if name != "pg"}

    def send(self) -> Answer:
        answer = self.app.post(self.body())
        assert CANARY not in str(answer.body)
        return answer

    def start(self) -> Call[Answer]:
        return Call(self.send)

    def table(self) -> list[tuple[Any, ...]]:
        return self.app.database.fetch("SELECT time, v FROM {s}.t ORDER BY time")

    def sessions(self, condition: str = "true") -> list[int]:
        """Return the pids of the restores' sessions that meet a condition on pg_stat_activity."""
        return [
            pid
            for (pid,) in self.app.database.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                f" AND application_name LIKE '{APPLICATION_NAME}%' AND application_name <> '{IDLE_NAME}'"
                f" AND {condition}"
            )
        ]

    def terminate(self, condition: str = "true") -> None:
        """End the restores' sessions that the condition picks, and wait until they are gone."""
        pids = self.sessions(condition)
        assert pids
        for pid in pids:
            self.app.database.execute("SELECT pg_terminate_backend(%s, 10000)", pid)

    def wait_for(self, condition: str) -> None:
        """Return when a session of a restore meets a condition on pg_stat_activity."""
        assert wait_until(lambda: bool(self.sessions(condition)), PATIENCE_SECONDS), condition

    def wait_until_locked_out(self) -> None:
        """Return when the restore waits for a lock that somebody holds: a gate's, or the table's."""
        self.wait_for("wait_event_type = 'Lock'")

    def wait_until_gone(self) -> None:
        """Return when the server has ended the restores' sessions."""
        self.app.database.wait_for_no_restore()

    def check_failed(self, answer: Answer, code: str, status: int, *, retryable: bool) -> None:
        """The answer is this error, nothing was written, and nothing is left."""
        assert (answer.code, answer.status) == (code, status), answer.body
        assert answer.body["error"]["retryable"] is retryable
        assert answer.headers["x-ms-error-code"] == code
        assert self.table() == self.before
        self.check_nothing_left()

    def check_done(self, answer: Answer) -> None:
        """The answer is 200, the day came the way it was sent, its neighbours are as they were, and nothing is left."""
        assert answer.status == 200, answer.body
        database = self.app.database
        user = self.request.get("pg", {}).get("user")
        check_way(answer, self.copy, database, by_owner=user in (None, database.connection.info.user))
        self.check_complete()
        self.check_nothing_left()

    def check_complete(self) -> None:
        assert [number for _, number in self.table()] == [-1, *self.numbers(), -2]

    def check_repeat(self) -> None:
        """The same request works, now that the fault is gone."""
        self.check_done(self.send())

    def check_nothing_left(self) -> None:
        """No session of ours, and so no transaction; no lock, no staging table, no temporary file."""
        Aftermath(self.app, self.spool).assert_nothing_left()


@contextmanager
def gate(fault_case: FaultCase, number: int = GATE) -> Iterator[Callable[[], None]]:
    """Shut a gate; what is yielded opens it."""
    with closing(fault_case.app.database.session()) as keeper, keeper.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (number,))
        yield lambda: cursor.execute("SELECT pg_advisory_unlock(%s)", (number,))


def make_fault_case(
    app: App, case: str, spool: Path, monkeypatch: pytest.MonkeyPatch, *, tablespace: str | None = None
) -> FaultCase:
    """Prepare a case, and let the archive be spooled to a folder of the test's own."""
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    monkeypatch.setenv("SPOOL_MAX_MEMORY_BYTES", "1")
    destination, copy, interval = _ALL_CASES[case]
    fault_case = FaultCase(app, dict(destination), dict(copy), spool, interval)
    fault_case.prepare(tablespace=tablespace)
    return fault_case


@pytest.fixture(params=PAIRS)
def fault_case(request: pytest.FixtureRequest, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultCase:
    """Both modes, both with `replace`, and both the plain and the fast way: each with each other once."""
    return make_fault_case(app, request.param, tmp_path / "spool", monkeypatch)


@pytest.fixture(params=["direct-fast", "direct-text", "staging-replace-spooled"])
def brief_fault_case(
    request: pytest.FixtureRequest, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FaultCase:
    """Few of them, for what takes seconds, and other mixtures of the ways."""
    return make_fault_case(app, request.param, tmp_path / "spool", monkeypatch)
