"""A PostgreSQL server with TimescaleDB, run from a root file system; several servers may share one."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg2
import trustme

from tools.config import LOGS, LOOPBACK, SUITES, WORK, ToolError, check_port_free
from tools.process import alive, children, exists, send, spawn, wait_until
from tools.rootfs import RootFs

PASSWORD = "restore-chunk"  # noqa: S105 - of a throw-away server that listens on loopback only
_ITERATIONS = "1"

_SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    # TimescaleDB runs one launcher, and a scheduler for each database; the tests make many databases.
    "max_worker_processes": "40",
    "timescaledb.max_background_workers": "24",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "ssl": "on",
    # Of a password: a client computes that many hashes for each connection, and the tests make ten thousand.
    "scram_iterations": _ITERATIONS,
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


class Postgres:
    """One cluster and its server. Any process may start it and any other stop it.

    The server's own `postmaster.pid` records its pid. It counts only if that process's working folder is this
    cluster's, so a recycled pid is never taken for the server.

    Args:
        root: where PostgreSQL is installed.
        name: name of the cluster, unique within the root file system.
        port: TCP port on 127.0.0.1.
        settings: server settings that replace the defaults.
    """

    def __init__(
        self,
        root: RootFs,
        name: str,
        port: int,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.name = name
        self.port = port
        self.settings = {**_SETTINGS, "port": str(port), **(settings or {})}
        self.log = LOGS / f"postgres-{root.suite}-{name}.log"
        self._inside = f"/srv/clusters/{name}"

    @property
    def data(self) -> Path:
        """The cluster's folder, by its path outside."""
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
        """Make the cluster if it is missing.

        Raises:
            ToolError: initdb failed; the message holds its output.
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
                *("--set", f"scram_iterations={_ITERATIONS}"),
            )
            folder = clusters / Path(partial).name
            self._make_certificate(folder)
            folder.rename(self.data)
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(clusters / Path(partial).name, ignore_errors=True)

    def _make_certificate(self, folder: Path) -> None:
        """Give the cluster a certificate that nobody knows, so that sslmode=require works.

        Its key is one of an elliptic curve. The server signs at each connection, which takes a fifth more of the CPU
        with Debian's own certificate, of RSA.
        """
        certificate = trustme.CA().issue_cert("localhost")
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        for name, text in {"server.crt": chain, "server.key": certificate.private_key_pem.bytes()}.items():
            target = folder / name
            target.touch(mode=0o600)
            target.write_bytes(text)
            if os.geteuid() == 0:
                os.chown(target, *self.root.postgres_ids)

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            self.root.command(*command), check=False, capture_output=True, text=True, env=_environment()
        )
        if done.returncode != 0:
            raise ToolError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def start(self, *, seconds: float = 60) -> None:
        """Start the server unless it runs, make its cluster first if it is missing, and wait until it answers.

        Args:
            seconds: how long to wait; crash recovery can take a while.

        Raises:
            ToolError: the port is taken, or the server ended or did not answer in time.
        """
        self.create()
        if not self.is_running():
            self._forget_the_dead()
            check_port_free(self.port, "PG_PORT", "PostgreSQL")
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
        """Wait until a killed server's pid is reaped: until then PostgreSQL takes it for a running server."""
        record = self.data / "postmaster.pid"
        try:
            pid = int(record.read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return
        is_corpse = exists(pid) and not alive(pid)
        if is_corpse and not wait_until(lambda: not exists(pid), 5):
            record.unlink()  # A container's first process may reap nothing.

    def _running_on_our_port(self) -> int:
        pid, _, _, port, *_ = (self.data / "postmaster.pid").read_text().split()
        if int(port) != self.port:
            raise ToolError(
                f"PostgreSQL runs on port {port} already: use that one with PG_PORT={port}, or end it with make down"
            )
        return int(pid)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self, *, seconds: float = 60) -> None:
        """End the server as an operator does: it cuts off the sessions and writes everything to disk.

        Raises:
            ToolError: it still runs after that many seconds.
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
        # A backend that is left keeps the shared memory, and PostgreSQL then refuses to start.
        if not wait_until(lambda: not any(alive(one) for one in everyone), 20):
            raise ToolError(f"PostgreSQL (pid {pid}) could not be killed")

    def remove(self) -> None:
        """End the server and delete its cluster."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)


def _environment() -> dict[str, str]:
    # The caller's PG* variables, locale and certificates do not apply inside.
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def all_postgres() -> list[Postgres]:
    """Return the server of every cluster in the root file systems; those that a killed test left are among them."""
    return [
        Postgres(RootFs(suite), path.name, 0)
        for suite in SUITES
        for path in (RootFs(suite).path / "srv/clusters").glob("*/")
        if (path / "postmaster.pid").exists()
    ]
