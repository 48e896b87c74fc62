"""A canceled restore rolls back within seconds, wherever it is."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from shared.api.parse import parse_request
from shared.errors import RestoreCanceled, RestoreError
from shared.model.report import Report
from shared.progress.progress import Progress, Stage
from shared.restore.restore import restore
from shared.settings import load_settings
from tests.integration.fix_app import App
from tools.process import wait_until

ROWS = 5
CSV = b"time,v\n" + b"".join(b"2025-01-01 00:00:0%dZ,%d\n" % (second, second) for second in range(ROWS))
WITHIN_SECONDS = 5
SLEEP = (
    "CREATE FUNCTION {s}.sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$"
)


class Running:
    """A restore in a thread of its own."""

    def __init__(self, app: App, progress: Progress | None = None, csv: bytes = CSV, **body: Any) -> None:
        # Of its own: the session is found by it, and other tests run at the same time.
        self.report = Report(str(uuid.uuid4()), progress=progress or Progress())
        self.error: BaseException | None = None
        url = app.archive("t", csv)
        request = parse_request(json.dumps({"adls_url": url, "pg": app.database.pg} | body).encode())
        settings = load_settings()

        def run() -> None:
            try:
                restore(request, settings, self.report)
            except RestoreError as exc:
                self.error = exc

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def wait_for_stage(self, *stages: str) -> None:
        assert wait_until(lambda: self.report.progress.stage_name in stages, 20), self.error
        # Until what it waits for has begun to wait.
        time.sleep(0.5)

    def cancel(self) -> None:
        begin = time.monotonic()
        self.report.progress.cancel()
        self._thread.join(WITHIN_SECONDS)
        assert not self._thread.is_alive(), self.report.progress.stage_name
        assert time.monotonic() - begin < WITHIN_SECONDS

    def check_canceled(self) -> None:
        assert isinstance(self.error, RestoreCanceled), self.error
        assert not self.report.progress.is_committed
        assert (self.report.rows_read, self.report.rows_loaded) == (None, None)

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


OURS = (
    "SELECT application_name FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name ~ '^restore-'"
)


def check_nothing_happened(app: App, rows: int = 0) -> None:
    assert app.database.value("SELECT count(*) FROM {s}.t") == rows
    assert wait_until(lambda: not app.database.fetch(OURS), 10)
    # And nothing is held that would keep the next one out.
    assert app.restore(app.archive("t", CSV), destination={"on_existing": "replace"}).status == 200


@pytest.fixture
def day(app: App) -> App:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int", interval="interval '7 days'")
    return app


@contextmanager
def holding(app: App, mode: str) -> Iterator[None]:
    pg = app.database.pg | {"dbname": app.database.name}
    with closing(psycopg2.connect(**pg)) as other, other.cursor() as cursor:
        cursor.execute(f'LOCK TABLE "{app.database.schema}".t IN {mode} MODE')
        yield


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen, and answer nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


def slow_trigger(app: App, event: str) -> None:
    app.database.execute(SLEEP)
    app.database.execute(f"CREATE TRIGGER slow BEFORE {event} ON {{s}}.t FOR EACH ROW EXECUTE FUNCTION {{s}}.sleep()")


def remove_trigger(app: App) -> None:
    app.database.execute("DROP TRIGGER slow ON {s}.t")


def test_while_storage_does_not_answer(day: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_server() as port:
        real = day.storage.connection_string
        account = dict(part.split("=", 1) for part in real.split(";") if part)
        silent = f"http://127.0.0.1:{port}/{account['AccountName']}"
        monkeypatch.setenv("ADLS_CONNECTION_STRING", real.replace(account["BlobEndpoint"], silent))
        running = Running(day)
        running.wait_for_stage("download")
        running.cancel()
        monkeypatch.setenv("ADLS_CONNECTION_STRING", real)
    running.check_canceled()
    check_nothing_happened(day)


def test_while_the_database_does_not_answer(day: App) -> None:
    with silent_server() as port:
        running = Running(day, pg={"host": "127.0.0.1", "port": port, "user": "u", "password": "p"})
        running.wait_for_stage("connect")
        running.cancel()
    running.check_canceled()
    check_nothing_happened(day)


@pytest.mark.parametrize(
    ("mode", "request_"),
    [
        # The look on the lock's connection waits; the load's LOCK; the look of a dry run.
        ("ACCESS EXCLUSIVE", {}),
        ("SHARE", {}),
        ("ACCESS EXCLUSIVE", {"dry_run": True}),
    ],
)
def test_while_another_session_holds_the_table(day: App, mode: str, request_: dict[str, Any]) -> None:
    with holding(day, mode):
        running = Running(day, **request_)
        running.wait_for_stage("inspect")
        running.cancel()
        running.check_canceled()
    check_nothing_happened(day)


@pytest.mark.parametrize(
    ("destination", "stage"), [({"mode": "direct"}, "copy"), ({"mode": "staging"}, "insert")], ids=["copy", "insert"]
)
def test_while_rows_come_in(day: App, destination: dict[str, Any], stage: str) -> None:
    slow_trigger(day, "INSERT")
    running = Running(day, destination=destination)
    running.wait_for_stage(stage)
    running.cancel()
    running.check_canceled()
    remove_trigger(day)
    check_nothing_happened(day)


def test_while_rows_are_deleted(day: App) -> None:
    assert day.restore(day.archive("t", CSV)).status == 200
    slow_trigger(day, "DELETE")
    running = Running(day, destination={"on_existing": "replace"})
    running.wait_for_stage("replace")
    running.cancel()
    running.check_canceled()
    remove_trigger(day)
    check_nothing_happened(day, rows=ROWS)


def test_while_an_index_is_built(day: App) -> None:
    """Row by row, or in one go where TimescaleDB lets it be deferred."""
    day.database.execute(
        "CREATE FUNCTION {s}.slow(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " $$BEGIN IF v = 3 THEN PERFORM pg_sleep(60); END IF; RETURN v; END$$"
    )
    day.database.execute("CREATE INDEX ON {s}.t ({s}.slow(v))")
    running = Running(day)
    assert wait_until(
        lambda: day.database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), 20
    )
    running.cancel()
    running.check_canceled()
    day.database.execute("DROP FUNCTION {s}.slow CASCADE")
    check_nothing_happened(day)


def test_while_another_restore_moves_a_sequence(day: App) -> None:
    """The last wait before the COMMIT."""
    day.database.execute("ALTER TABLE {s}.t ADD id serial")
    with closing(day.database.session()) as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_lock(hashtextextended("
            f"E'restore-chunk\\nsequence\\n' || '{day.database.schema}.t_id_seq'::regclass::oid, 0))"
        )
        csv = b"time,id\n2025-01-01 00:00:00Z,40\n"
        running = Running(day, csv=csv, destination={"sequences": "advance"})
        running.wait_for_stage("commit")
        running.cancel()
    running.check_canceled()
    check_nothing_happened(day)


class CanceledAt(Progress):
    """A restore that is canceled when a stage begins."""

    def __init__(self, stage: str, *, at_check: bool) -> None:
        super().__init__()
        self._stage = stage
        self._at_check = at_check
        self.seen: list[str] = []

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        self.seen.append(name)
        if name == self._stage and not self._at_check:
            self.cancel()
        with super().stage(name):
            if name == self._stage:
                self.cancel()
            yield


def run(app: App, progress: Progress, **body: Any) -> Running:
    running = Running(app, progress, **body)
    running.join()
    return running


STAGES = ["download", "connect", "inspect", "verify", "replace", "decompress", "index", "copy", "commit"]


@pytest.mark.parametrize("at_check", [True, False], ids=["within", "before"])
@pytest.mark.parametrize("stage", STAGES)
def test_at_each_stage_before_the_commit(day: App, stage: str, *, at_check: bool) -> None:
    assert day.restore(day.archive("t", CSV)).status == 200
    progress = CanceledAt(stage, at_check=at_check)
    running = run(day, progress, destination={"on_existing": "replace"})
    assert stage in progress.seen
    running.check_canceled()
    check_nothing_happened(day, rows=ROWS)


@pytest.mark.community
@pytest.mark.parametrize("stage", ["decompress", "compress"])
def test_at_the_stages_of_compression(community_app: App, stage: str) -> None:
    community_app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    community_app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    running = run(community_app, CanceledAt(stage, at_check=True), timescaledb={"compress_new_chunks": True})
    running.check_canceled()
    check_nothing_happened(community_app)


@pytest.mark.parametrize("stage", ["recompress", "refresh"])
def test_what_is_committed_stays(day: App, stage: str) -> None:
    """A cancel comes too late once the COMMIT has begun; the steps behind it are not left out."""
    running = run(day, CanceledAt(stage, at_check=False))
    assert running.error is None
    assert running.report.progress.is_committed
    assert running.report.rows_loaded == ROWS
    assert day.database.value("SELECT count(*) FROM {s}.t") == ROWS


def test_a_cancel_before_the_restore_begins(day: App) -> None:
    progress = Progress()
    progress.cancel()
    running = run(day, progress)
    running.check_canceled()
    check_nothing_happened(day)


def test_the_sessions_name_the_request(day: App) -> None:
    slow_trigger(day, "INSERT")
    running = Running(day)
    running.wait_for_stage("copy")
    names = sorted(day.database.fetch(OURS))
    running.cancel()
    assert names == [
        (f"restore-chunk guard/{running.report.request_id}",),
        (f"restore-chunk/{running.report.request_id}",),
    ]


def test_the_threads_of_a_restore_join_its_invocation(day: App) -> None:
    """The Functions host drops a log line of a thread that has no invocation id."""
    from shared.process import invocation  # noqa: PLC0415

    joined: set[str] = set()
    body: Callable[[], None] = lambda: joined.add(threading.current_thread().name)  # noqa: E731
    url = day.archive("t", CSV)
    request = parse_request(
        json.dumps({"adls_url": url, "pg": day.database.pg, "copy": {"transfer": "stream"}}).encode()
    )
    with invocation(body):
        restore(request, load_settings(), Report("id"))
    assert {name.partition("_")[0] for name in joined} == {"wait", "download", "gunzip"}
