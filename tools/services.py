"""TimescaleDB and Azurite for tests, demo and development.

    python -m tools.services up | down | status
    python -m tools.services run -- COMMAND...

TimescaleDB is the first of these: the server of RESTORE_TEST_DSN; a container, if a Docker engine answers; Debian's
packages in a root file system below `.work/`. A server that is healthy already is used again.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2

from tools import docker
from tools.azurite import Azurite, connection_string
from tools.config import WORK, Config, ToolError, load_config
from tools.host_process import HostProcess
from tools.postgres import PASSWORD, Postgres, all_postgres
from tools.rootfs import RootFs


@dataclass(frozen=True)
class Services:
    """Where the servers are.

    Attributes:
        dsn: superuser connection string of TimescaleDB. Variable `RESTORE_TEST_DSN`.
        community_dsn: the same of a community edition, where there is one. `RESTORE_TEST_COMMUNITY_DSN`.
        storage: connection string of the storage account. `RESTORE_TEST_STORAGE`.
    """

    dsn: str
    community_dsn: str | None
    storage: str

    def variables(self) -> dict[str, str]:
        """Return the environment that the tests read."""
        found = {"RESTORE_TEST_DSN": self.dsn, "RESTORE_TEST_STORAGE": self.storage}
        if self.community_dsn:
            found["RESTORE_TEST_COMMUNITY_DSN"] = self.community_dsn
        return found


def local_postgres(config: Config) -> Postgres:
    """Return the server of the Debian packages, which may or may not run."""
    return Postgres(RootFs(config.suite), "main", config.pg_port)


def up(config: Config, environ: Mapping[str, str] = os.environ) -> Services:
    """Bring both servers up, or use those that run.

    Raises:
        ToolError: a server that the user named does not answer, a port is taken, or a start failed.
    """
    with _only_one():
        dsn, community_dsn = environ.get("RESTORE_TEST_DSN"), environ.get("RESTORE_TEST_COMMUNITY_DSN")
        storage = environ.get("RESTORE_TEST_STORAGE")
        in_docker = not (dsn and storage) and docker.available()
        wanted = [name for name, given in (("timescaledb", dsn), ("azurite", storage)) if not given]
        if in_docker:
            docker.up(config, *wanted)
        if dsn:
            _check_dsn(dsn, "RESTORE_TEST_DSN")
        elif in_docker:
            dsn = f"host=127.0.0.1 port={config.pg_port} user=postgres password={PASSWORD} dbname=postgres"
            # The image is the community edition.
            community_dsn = community_dsn or dsn
        else:
            server = local_postgres(config)
            server.root.build()
            server.start()
            dsn = server.dsn
        if community_dsn and community_dsn != dsn:
            _check_dsn(community_dsn, "RESTORE_TEST_COMMUNITY_DSN")
        if not storage:
            if not in_docker:
                Azurite(config.azurite_port).start()
            storage = connection_string(config.azurite_port)
    return Services(dsn, community_dsn, storage)


def down(config: Config) -> None:
    """Stop what these tools have started, on whichever suite and port, but no server that the user named.

    Print what was stopped, and what is gone by that.
    """
    with _only_one():
        hosts = [host for host in HostProcess.all_started() if host.pid is not None]
        servers = [server for server in all_postgres() if server.pid is not None]
        emulators = [emulator for emulator in Azurite.all_started() if emulator.pid is not None]
        for host in hosts:
            host.stop()
        for server in servers:
            server.stop()
        for emulator in emulators:
            emulator.stop()
        in_docker = docker.available()
        if in_docker:
            docker.down(config)
    stopped = (
        *(f"the function on port {host.port}" for host in hosts),
        *(f"TimescaleDB ({server.root.suite})" for server in servers),
        *(f"Azurite on port {emulator.port}" for emulator in emulators),
        *(["the containers of compose.yaml"] if in_docker else []),
    )
    print(after_stop(stopped, loses_archives=bool(emulators) or in_docker, loses_tables=in_docker))


def after_stop(stopped: Sequence[str], *, loses_archives: bool, loses_tables: bool) -> str:
    """Return what `down` prints.

    Args:
        stopped: what was stopped.
        loses_archives: whether Azurite was among it, which keeps everything in memory.
        loses_tables: whether the databases went with it.
    """
    gone = [
        *(["uploaded archives", "the records of restores"] if loses_archives else []),
        *(["databases"] if loses_tables else []),
    ]
    lines = [f"-- stopped: {', '.join(stopped) or 'nothing; nothing ran'}"]
    if gone:
        lines.append(f"   gone: {', '.join(gone)}")
    if stopped and not loses_tables:
        lines.append("   kept: databases and their tables")
    return "\n".join(lines)


def status(config: Config) -> bool:
    """Print what runs, and say whether both do."""
    server = local_postgres(config)
    found = {
        f"PostgreSQL ({config.suite}) on port {config.pg_port}": server.is_ready(),
        f"Azurite on port {config.azurite_port}": Azurite(config.azurite_port).answers(),
    }
    for name, runs in found.items():
        print(f"{name}: {'runs' if runs else 'does not run'}")
    return all(found.values())


@contextmanager
def _only_one() -> Iterator[None]:
    """Let a second command wait until the first has made what both need. A killed command frees the lock."""
    WORK.mkdir(exist_ok=True)
    with (WORK / "services.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("-- waiting for another command that sets the services up", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_dsn(dsn: str, variable: str) -> None:
    try:
        psycopg2.connect(dsn, connect_timeout=10).close()
    except psycopg2.Error as exc:
        # libpq's message names host, port and user, and never the password.
        raise ToolError(f"no connection to the server of {variable}: {exc}") from exc


def main(arguments: list[str]) -> int:
    """Run one of the commands in the module's docstring and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.services", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status", "run"))
    parser.add_argument("command", nargs=argparse.REMAINDER, help="for run: -- and the command")
    chosen = parser.parse_args(arguments)
    command = chosen.command[1:] if chosen.command[:1] == ["--"] else chosen.command
    if (chosen.action == "run") != bool(command):
        parser.error("run takes a command after --, the others take none")
    config = load_config()
    if chosen.action == "down":
        down(config)
    elif chosen.action == "status":
        return 0 if status(config) else 1
    else:
        found = up(config)
        if command:
            # The command replaces this process: signals and the exit code are its own.
            os.execvpe(command[0], command, {**os.environ, **found.variables()})  # noqa: S606
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ToolError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)
