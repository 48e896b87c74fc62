"""Restores behind the queue into a compressed chunk below an aggregate, canceled or killed at each stage."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from shared.progress.progress import Progress, Stage
from tests.faults.fix_jobs import Jobs, empty_queue
from tests.integration.fix_app import App
from tests.integration.fix_compressed import actions, chunk_states, partial_chunks
from tools.process import wait_until

pytestmark = pytest.mark.community

AFTER_COMMIT = ("recompress", "refresh")
STAGES = ["connect", "download", "inspect", "decompress", "replace", "copy", "verify", "commit", *AFTER_COMMIT]
CSV = b"time,v\n" + b"".join(b"2025-01-01 %02d:00Z,%d\n" % (hour, hour) for hour in range(24))
BEFORE, AFTER = {"2024-12-31": -1, "2025-01-01": 15}, {"2024-12-31": -1, "2025-01-01": sum(range(24))}


@dataclass
class Compressed:
    """A chunk with a day, its neighbour, and the sums of both in an aggregate; and the archive of the day."""

    jobs: Jobs
    url: str

    @property
    def app(self) -> App:
        return self.jobs.app

    def taken(self) -> str:
        body = {
            "adls_url": self.url,
            "destination": {"on_existing": "replace"},
            "timescaledb": {"refresh_caggs": "all"},
        }
        return self.jobs.taken(body).id

    def sums(self, relation: str) -> dict[str, int]:
        day, value = ("time", "sum(v)") if relation == "t" else ("bucket", "sum(total)")
        rows = self.app.database.fetch(
            f"SELECT ({day} AT TIME ZONE 'UTC')::date::text, {value}::int FROM {{s}}.{relation} GROUP BY 1"
        )
        return dict(rows)

    def check(self, expected: dict[str, int]) -> None:
        """The rows and the aggregate are these, and the chunk is compressed as a whole."""
        self.app.database.wait_for_no_restore()
        assert (self.sums("t"), self.sums("daily")) == (expected, expected)
        assert chunk_states(self.app) == [(True,)]
        assert partial_chunks(self.app) == 0

    def check_succeeded(self, operation_id: str) -> None:
        state = self.jobs.monitor(operation_id).body
        assert state["status"] == "Succeeded", state
        result: dict[str, Any] = state["result"]
        assert (result["status"], result["rows_loaded"], result["verification"]["rows_after"]) == ("ok", 24, 24)
        assert actions(result) == [("decompress", "done"), ("recompress", "done")]
        assert [one["outcome"] for one in result["caggs"]] == ["done"]
        self.check(AFTER)


@pytest.fixture
def compressed(community_app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compressed]:
    database = community_app.database
    database.hypertable("t", "time timestamptz NOT NULL, v int, PRIMARY KEY (time)", interval="interval '7 days'")
    database.execute(
        "INSERT INTO {s}.t VALUES ('2024-12-31 23:59:59.999999Z', -1), ('2025-01-01 03:00Z', 7),"
        " ('2025-01-01 03:30Z', 8)"
    )
    database.execute(
        "CREATE MATERIALIZED VIEW {s}.daily WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS"
        " SELECT time_bucket('1 day', time) AS bucket, sum(v) AS total FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
    database.execute("CALL refresh_continuous_aggregate('{s}.daily', NULL, NULL)")
    database.execute("ALTER TABLE {s}.t SET (timescaledb.compress)")
    database.execute("SELECT compress_chunk(c) FROM show_chunks('{s}.t') c")
    with empty_queue(community_app, monkeypatch) as jobs:
        case = Compressed(jobs, community_app.archive("t", CSV))
        case.check(BEFORE)
        yield case


@pytest.mark.parametrize("stage", STAGES)
def test_a_cancel_of_a_restore_into_a_compressed_chunk(
    compressed: Compressed, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the COMMIT it undoes the decompression. After it, the chunk is compressed and the aggregate refreshed."""
    jobs, operation_id, is_canceled = compressed.jobs, compressed.taken(), False
    stage_of = Progress.stage

    @contextmanager
    def canceling(progress: Progress, name: Stage) -> Iterator[None]:
        nonlocal is_canceled
        with stage_of(progress, name):
            if name == stage and not is_canceled:
                is_canceled = True
                assert jobs.cancel(operation_id).status == 202
                assert wait_until(lambda: progress.is_canceled or progress.is_committed, 10)
            yield

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "stage", canceling)
        jobs.work()
    assert is_canceled
    if stage in AFTER_COMMIT:
        compressed.check_succeeded(operation_id)
        return
    assert jobs.monitor(operation_id).body["status"] == "Canceled"
    compressed.check(BEFORE)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_is_killed_restoring_into_a_compressed_chunk(
    compressed: Compressed, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one begins anew, or does what was left behind the COMMIT."""
    monkeypatch.setattr("shared.jobs.operation.STALE_SECONDS", 2)
    jobs, operation_id = compressed.jobs, compressed.taken()
    with jobs.worker(jobs.receive().content, TEST_KILLED_AT=stage) as worker:
        assert worker.wait(60) == -signal.SIGKILL
    compressed.app.database.wait_for_no_restore()
    assert compressed.sums("t") == (AFTER if stage in AFTER_COMMIT else BEFORE)
    jobs.serve_until_ended(operation_id)
    assert jobs.state(operation_id).crashes == 1
    compressed.check_succeeded(operation_id)
