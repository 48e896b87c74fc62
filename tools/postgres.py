"""A PostgreSQL server with TimescaleDB, run out of a root file system; several may share one."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg2

from tools.config import LOGS, LOOPBACK, SUITES, WORK, ToolError, check_port_free
from tools.process import alive, children, exists, send, spawn, wait_until
from tools.rootfs import RootFs

PASSWORD = "restore-chunk"  # noqa: S105 - of a throw-away server that listens on loopback only

_SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "60",
    # TimescaleDB wants a launcher and a scheduler per database, and the tests make many databases.
    "max_worker_processes": "40",
    "timescaledb.max_background_workers": "24",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "ssl": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class Postgres:
    """One cluster and its server. Any process may start it and any other stop it.

    The server's own `postmaster.pid` is the record of who runs. It is believed only where that process works
    in this cluster's folder, so a recycled pid is never taken for the server.

    Args:
        root: where PostgreSQL is installed.
        name: name of the cluster, unique within the root file system.
        port: TCP port on 127.0.0.1.
        port_variable: the variable that a message names where the port is taken.
        settings: server settings over the defaults.
    """

    def __init__(
        self,
        root: RootFs,
        name: str,
        port: int,
        *,
        port_variable: str = "PG_PORT",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.name = name
        self.port = port
        self.port_variable = port_variable
        self.settings = {**_SETTINGS, "port": str(port), **(settings or {})}
        self.log = LOGS / f"postgres-{root.suite}-{name}.log"
        self._inside = f"/srv/clusters/{name}"

    @property
    def data(self) -> Path:
        """The cluster's folder, as it is called outside."""
        return self.root.path / self._inside.lstrip("/")

    @property
    def dsn(self) -> str:
        """The superuser's connection string."""
        return f"host={LOOPBACK} port={self.port} user=postgres password={PASSWORD} dbname=postgres"

    @property
    def pid(self) -> int | None:
        """The pid of the running server, or None."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            ours = alive(pid) and Path(f"/proc/{pid}/cwd").samefile(self.data)
        except (OSError, ValueError, IndexError):
            return None
        return pid if ours else None

    def is_running(self) -> bool:
        """Say whether the server process runs."""
        return self.pid is not None

    def is_ready(self) -> bool:
        """Say whether the server lets the superuser in."""
        try:
            psycopg2.connect(self.dsn, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def create(self) -> None:
        """Make the cluster where it is missing.

        Raises:
            ToolError: initdb failed; the message holds what it said.
        """
        if self.data.exists():
            return
        clusters = self.data.parent
        partial = f"{self._inside}.partial.{secrets.token_hex(4)}"
        password_file = clusters / f"{Path(partial).name}.password"
        clusters.mkdir(parents=True, exist_ok=True)
        try:
            password_file.write_text(PASSWORD + "\n")
            if os.geteuid() == 0:
                os.chown(clusters, *self.root.postgres_ids)
                os.chown(password_file, *self.root.postgres_ids)
            self._run(
                f"{self.root.bin}/initdb",
                f"--pgdata={partial}",
                f"--pwfile={partial}.password",
                *("--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"),
            )
            folder = clusters / Path(partial).name
            self._copy_certificate(folder)
            folder.rename(self.data)
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(clusters / Path(partial).name, ignore_errors=True)

    def _copy_certificate(self, folder: Path) -> None:
        """Give the cluster the self-signed certificate that Debian makes, so that sslmode=require works."""
        found = {"server.crt": "certs/ssl-cert-snakeoil.pem", "server.key": "private/ssl-cert-snakeoil.key"}
        for name, source in found.items():
            target = folder / name
            shutil.copyfile(self.root.path / "etc/ssl" / source, target)
            target.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(target, *self.root.postgres_ids)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            self.root.command(*command), check=False, capture_output=True, text=True, env=_environment()
        )
        if done.returncode != 0:
            raise ToolError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def start(self, *, seconds: float = 60) -> None:
        """Start the server where it does not run, making its cluster first, and wait until it answers.

        Args:
            seconds: how long to wait; crash recovery takes its time.

        Raises:
            ToolError: the port is taken, or the server ended or did not answer in time.
        """
        self.create()
        if not self.is_running():
            self._forget_the_dead()
            check_port_free(self.port, self.port_variable, "PostgreSQL")
            options = [f"--{name}={value}" for name, value in self.settings.items()]
            launched = spawn(
                self.root.command(f"{self.root.bin}/postgres", "-D", self._inside, *options),
                pid_file=WORK / "run" / f"postgres-{self.root.suite}-{self.name}.pid",
                log=self.log,
                environ=_environment(),
            )
        else:
            launched = self._running_on_our_port()
        wait_until(lambda: self.is_ready() or not alive(launched), seconds)
        if not self.is_ready():
            raise ToolError(f"PostgreSQL did not start on port {self.port}, see {self.log}:\n{self._log_tail()}")

    def _forget_the_dead(self) -> None:
        """Let a killed server's pid go: until its parent has reaped it, PostgreSQL takes it for a living one."""
        record = self.data / "postmaster.pid"
        try:
            pid = int(record.read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return
        is_corpse = exists(pid) and not alive(pid)
        if is_corpse and not wait_until(lambda: not exists(pid), 5):
            record.unlink()  # In a container whose first process reaps nobody.

    def _running_on_our_port(self) -> int:
        pid, _, _, port, *_ = (self.data / "postmaster.pid").read_text().split()
        if int(port) != self.port:
            raise ToolError(
                f"PostgreSQL runs on port {port} already: use it there with {self.port_variable}={port}, "
                "or end it with make down"
            )
        return int(pid)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self, *, seconds: float = 60) -> None:
        """End the server as an operator does: sessions are cut off, everything is written to disk.

        Raises:
            ToolError: it still runs after so many seconds.
        """
        pid = self.pid
        if pid is None:
            return
        send(pid, signal.SIGINT)  # PostgreSQL calls this a fast shutdown.
        if not wait_until(lambda: not alive(pid), seconds):
            raise ToolError(f"PostgreSQL (pid {pid}) does not end, see {self.log}")

    def kill(self) -> None:
        """End every process of the server at once with SIGKILL: a crash. The next start recovers."""
        pid = self.pid
        if pid is None:
            return
        everyone = [pid, *children(pid)]
        for one in everyone:
            send(one, signal.SIGKILL)
        # A backend that lives on keeps the shared memory, and the next start would be refused.
        if not wait_until(lambda: not any(alive(one) for one in everyone), 20):
            raise ToolError(f"PostgreSQL (pid {pid}) could not be killed")

    def remove(self) -> None:
        """End the server and delete its cluster."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)


def _environment() -> dict[str, str]:
    # The caller's PG* variables, locale and certificates mean nothing inside.
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def all_postgres() -> list[Postgres]:
    """Return the server of every cluster in the root file systems, those that a killed test left included."""
    return [
        Postgres(RootFs(suite), path.name, 0)
        for suite in SUITES
        for path in (RootFs(suite).path / "srv/clusters").glob("*/")
        if (path / "postmaster.pid").exists()
    ]
