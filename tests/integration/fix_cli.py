"""restorectl as a process, in a pipe and on a terminal, before a local host."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever psycopg2 calls it

from tests.integration.fix_app import App, app_environment
from tests.integration.fix_gateway import Gateway, running_gateway
from tests.integration.fix_host import Host, running_host
from tests.integration.fix_restorectl import run_restorectl
from tests.integration.fix_storage import Storage
from tools.config import LOOPBACK, REPOSITORY
from tools.process import wait_until

KEY = "Zm9yLXRlc3RzLW9ubHk="
DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")
PROGRAM = (sys.executable, "-m", "restorectl")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Done:
    status: int
    stdout: str
    stderr: str

    @property
    def data(self) -> Any:
        return json.loads(self.stdout)

    @property
    def facts(self) -> dict[str, str]:
        """The table of two columns."""
        return dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in self.stdout.splitlines() if line.strip())

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table, without its heading."""
        return [re.split(r" {2,}", line.strip()) for line in self.stdout.splitlines()[1:]]


def put_into_path(folder: Path) -> str:
    """Make the program one that a shell finds, and return the PATH by which it does."""
    program = folder / "restorectl"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], environ: Mapping[str, str], columns: int) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.written = ""
        # A part may end within a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        # It must be the terminal that a Ctrl-C comes from.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            cwd=REPOSITORY,
            env=dict(environ) | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def read(self) -> str:
        """Return all that was written so far."""
        while select.select([self._own], [], [], 0.05)[0]:
            try:
                part = os.read(self._own, 65536)
            except OSError:
                break
            self.written += self._decoder.decode(part)
        return self.written

    def wait_for(self, text: str, seconds: float = 60) -> None:
        assert wait_until(lambda: text in self.read(), seconds), self.written

    def end(self, seconds: float = 60) -> int:
        """Wait for its end, and return its exit code."""
        # A program that nobody reads does not end.
        assert wait_until(lambda: (self.read(), self.process.poll())[1] is not None, seconds), self.written
        self.read()
        return self.process.wait()

    @property
    def text(self) -> str:
        """What was written, without what a terminal obeys."""
        return _ESCAPE.sub("", self.written).replace("\r\n", "\n")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._own)


@dataclass
class Cli:
    """The program before a function app whose settings name the test's server and its file system."""

    app: App
    url: str
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        own = {"RESTORE_URL": self.url, "RESTORE_KEY": KEY, "NO_PROXY": LOOPBACK, "no_proxy": LOOPBACK}
        # pytest's own colours are not the program's.
        kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")}
        return kept | own | self.environ

    def run(self, *arguments: str, stdin: str = "", **environ: str) -> Done:
        status, stdout, stderr = run_restorectl(arguments, environ=self.environment | environ, stdin=stdin)
        assert "Traceback" not in stderr, stderr
        return Done(status, stdout, stderr)

    @contextmanager
    def terminal(self, *arguments: str, columns: int = 80, **environ: str) -> Iterator[Terminal]:
        terminal = Terminal([*PROGRAM, *arguments], self.environment | environ, columns)
        try:
            yield terminal
        finally:
            terminal.close()

    def path(self, day: str = DAYS[0], table: str = "t") -> str:
        return self.app.path(table, day)

    def store(self, *days: str, csv: bytes | None = None) -> None:
        """Make the table, and an archive of two rows for each of the days."""
        self.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
        for day in days:
            text = f"time,v\n{day} 01:00Z,1\n{day} 02:00Z,2\n".encode()
            self.app.archive("t", text if csv is None else csv, day=day)

    def rows(self) -> int:
        return int(self.app.database.value("SELECT count(*) FROM {s}.t"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every restore of the table waiting."""
        session = self.app.database.session(autocommit=False)
        try:
            session.cursor().execute(f"LOCK TABLE {self.app.database.schema}.t IN SHARE MODE")
            yield
        finally:
            session.close()

    def submitted(self, *options: str) -> str:
        """Start a restore of the first day, and return its id."""
        done = self.run("restore", self.path(), "--no-wait", "--output", "json", *options)
        assert done.status == 0, done.stderr
        return str(done.data["id"])

    def wait_for_status(self, operation_id: str, *statuses: str) -> dict[str, Any]:
        state: dict[str, Any] = {}

        def look() -> bool:
            state.update(self.run("status", operation_id, "--output", "json").data)
            return state["status"] in statuses

        # Each look is a process.
        assert wait_until(look, 60, pause=0.5), state
        return state


@pytest.fixture(scope="module")
def cli_host(
    storage: Storage, server_connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """One host for all tests of a file: a start takes seconds."""
    info = server_connection.info
    environ = app_environment(storage) | {
        "PGHOST": info.host,
        "PGPORT": str(info.port),
        "PGUSER": info.user,
        "PGSSLMODE": "prefer",
        "PG_LOCK_TIMEOUT_SECONDS": "60",
        "ADLS_ACCOUNT_URL_DEFAULT": f"https://{storage.account}.dfs.core.windows.net",
        "ADLS_FILESYSTEM_DEFAULT": storage.filesystem,
    }
    if info.password:
        environ["PGPASSWORD"] = info.password
    with running_host(REPOSITORY, tmp_path_factory.mktemp("host") / "host.log", environ) as host:
        yield host


@pytest.fixture
def cli(app: App, cli_host: Host) -> Cli:
    return Cli(app, f"http://{LOOPBACK}:{cli_host.port}/api")


@pytest.fixture
def gateway(cli: Cli, cli_host: Host) -> Iterator[Gateway]:
    """A gateway before the host that `cli` then talks to."""
    with running_gateway(cli_host.port, KEY) as running:
        cli.url = running.url
        yield running
