"""`make serve`, `make upload` and the end of the host, as a person at a terminal has them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import psycopg2
import pytest

from tests.integration.fix_cli import put_into_path
from tools import sample_target
from tools.config import REPOSITORY
from tools.host_process import HostProcess
from tools.local_server import free_port
from tools.process import alive, wait_until
from tools.sample_day import ROWS, write_sample_day

pytestmark = pytest.mark.any_server


@dataclass(frozen=True)
class Served:
    make: subprocess.Popen[bytes]
    host: HostProcess
    screen: Path

    @property
    def serve(self) -> int:
        """The pid of the process below make."""
        return int(Path(f"/proc/{self.make.pid}/task/{self.make.pid}/children").read_text())


def paste(screen: str) -> dict[str, object]:
    """Run the one curl line on a screen by a shell, and return the answer."""
    (line,) = re.findall(r"^curl .*$", screen, re.MULTILINE)
    done = subprocess.run(["sh", "-c", line], check=True, capture_output=True, timeout=120)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture
def demo_database() -> Iterator[None]:
    """Remove the demo's database again, unless it was there before."""
    dsn = os.environ.get("RESTORE_TEST_DSN")
    if not dsn or not os.environ.get("RESTORE_TEST_STORAGE"):
        pytest.skip("RESTORE_TEST_DSN and RESTORE_TEST_STORAGE are not both set")
    with closing(psycopg2.connect(dsn)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (sample_target.DATABASE,))
        was_there = cursor.fetchone() is not None
        yield
        if not was_there:
            cursor.execute(f"DROP DATABASE {sample_target.DATABASE} WITH (FORCE)")


@pytest.fixture
def served(demo_database: None, tmp_path: Path) -> Iterator[Served]:  # noqa: ARG001 - its end comes after ours
    host, screen = HostProcess(free_port()), tmp_path / "screen"
    with screen.open("wb") as output:
        # `machine` would install what the running tests have already.
        make = subprocess.Popen(
            ["make", "--no-print-directory", "--old-file=machine", "serve", f"HOST_PORT={host.port}"],
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
        )
    try:
        assert wait_until(lambda: '"rows_loaded"' in screen.read_text() or make.poll() is not None, 120)
        assert make.poll() is None, screen.read_text()
        yield Served(make, host, screen)
    finally:
        make.terminate()
        make.wait(timeout=90)
        host.stop()


def test_the_printed_lines_restore_the_day_and_sigterm_ends_the_host(served: Served, tmp_path: Path) -> None:
    host, serve = served.host.pid, served.serve
    assert host is not None
    screen = served.screen.read_text()
    answer = paste(screen)
    assert (answer["status"], answer.get("rows_loaded")) == ("ok", ROWS), answer
    (address,) = re.findall(r"^-- look at what runs .*: (http\S+)$", screen, re.MULTILINE)
    page = subprocess.run(["curl", "--silent", "--fail", address], check=True, capture_output=True, timeout=60)
    assert b"<title>restore-chunk</title>" in page.stdout
    lines = "\n".join(re.findall(r"^(?:export RESTORE_URL|restorectl ).*$", screen, re.MULTILINE))
    done = subprocess.run(
        ["sh", "-c", f"{lines} --existing replace --yes"],
        env=os.environ | {"PATH": put_into_path(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^rows loaded +{ROWS:,}", done.stdout, re.MULTILINE), done.stdout
    served.make.send_signal(signal.SIGTERM)
    assert served.make.wait(timeout=90) != 0
    assert wait_until(lambda: not alive(serve) and not alive(host), 30)
    assert not served.host.answers()


def test_an_archive_of_ones_own_is_restored_and_down_ends_a_host_that_was_left(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "own.csv.gz"
    rows = write_sample_day(file, datetime(2025, 1, 3, tzinfo=timezone.utc), devices=1)
    archive = f"{sample_target.DATABASE}/silver.telemetry.2025-01-03.csv.gz"
    uploaded = subprocess.run(
        ["make", "--old-file=machine", "upload", f"FILE={file}", f"ARCHIVE={archive}", f"HOST_PORT={served.host.port}"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    # Where the demo's database was there before, so may be the day.
    with closing(psycopg2.connect(os.environ["RESTORE_TEST_DSN"], dbname=sample_target.DATABASE)) as demo, demo:
        demo.cursor().execute("DELETE FROM silver.telemetry WHERE ts >= '2025-01-03Z' AND ts < '2025-01-04Z'")
    answer = paste(uploaded.stdout)
    assert (answer["status"], answer.get("rows_loaded")) == ("ok", rows), answer
    assert f"\nrestorectl restore {archive}\n" in uploaded.stdout
    host = served.host.pid
    assert host is not None
    os.kill(served.serve, signal.SIGKILL)
    served.make.wait(timeout=60)
    assert alive(host)
    assert served.host.answers()
    # `make down` would stop the tests' own servers too.
    (left,) = [each for each in HostProcess.all_started() if each.port == served.host.port]
    left.stop()
    assert not alive(host)
    assert left.pid is None
    left.stop()
