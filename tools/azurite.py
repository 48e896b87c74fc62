"""Azurite, Microsoft's storage emulator, installed by npm in `.work/`."""

from __future__ import annotations

import http.client
import shutil
import signal
from pathlib import Path

from tools.config import LOGS, LOOPBACK, WORK, ToolError, check_port_free
from tools.process import alive, run_step, send, spawn, spawned, wait_until

PACKAGE = "azurite@^3.35.0"
ACCOUNT = "devstoreaccount1"
# Published by Microsoft: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_SERVICES = ("blob", "queue", "table")


def connection_string(port: int) -> str:
    """Return the connection string of an Azurite whose first port is this one."""
    endpoints = (
        f"{service.capitalize()}Endpoint=http://{LOOPBACK}:{port + offset}/{ACCOUNT};"
        for offset, service in enumerate(_SERVICES)
    )
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{''.join(endpoints)}"


def answers(port: int) -> bool:
    """Say whether an Azurite blob service answers on a loopback port."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/")
        server = connection.getresponse().getheader("Server") or ""
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return server.startswith("Azurite-Blob")


class Azurite:
    """A storage emulator that keeps its blobs in memory. Any process may start it and any other stop it.

    Args:
        port: TCP port of the blob service on 127.0.0.1; queues and tables take the next two.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.log = LOGS / f"azurite-{port}.log"
        self._npm = WORK / "npm"
        self._script = self._npm / "node_modules/azurite/dist/src/azurite.js"
        self._pid_file = WORK / "run" / f"azurite-{port}.pid"

    @property
    def pid(self) -> int | None:
        """The pid of the running emulator, or None."""
        return spawned(self._pid_file)

    def is_running(self) -> bool:
        """Say whether the emulator's process runs."""
        return self.pid is not None

    def install(self) -> None:
        """Fetch the package where it is missing. An interrupted installation starts over.

        Raises:
            ToolError: npm failed, or is not installed.
        """
        stamp = self._npm / "installed"
        if stamp.exists() and stamp.read_text() == PACKAGE:
            return
        if shutil.which("npm") is None:
            raise ToolError("npm is not installed; the make targets install it, or: apt install nodejs npm")
        shutil.rmtree(self._npm, ignore_errors=True)
        self._npm.mkdir(parents=True)
        # Azurite needs no scripts of packages, and they run strangers' code.
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", "--no-update-notifier")
        run_step(
            "Azurite (npm)",
            ["npm", "install", "--prefix", str(self._npm), *quiet, PACKAGE],
            log=LOGS / "npm.log",
        )
        stamp.write_text(PACKAGE)

    def start(self) -> None:
        """Start the emulator unless it runs, and wait until it answers.

        Raises:
            ToolError: a port is taken, or the emulator ended or did not answer within 60 s.
        """
        self.install()
        pid = self.pid
        if pid is None:
            for offset, service in enumerate(_SERVICES):
                check_port_free(self.port + offset, "AZURITE_PORT", f"Azurite's {service} service")
            pid = spawn(self._command(), pid_file=self._pid_file, log=self.log)
        wait_until(lambda: answers(self.port) or not alive(pid), 60)
        if not answers(self.port):
            raise ToolError(f"Azurite did not start on port {self.port}, see {self.log}:\n{self._log_tail()}")

    def stop(self) -> None:
        """End the emulator; its blobs are gone.

        Raises:
            ToolError: it still runs after 20 s.
        """
        pid = self.pid
        if pid is None:
            return
        send(pid, signal.SIGTERM)
        if not wait_until(lambda: not alive(pid), 20):
            raise ToolError(f"Azurite (pid {pid}) does not end, see {self.log}")
        self._pid_file.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        ports = [
            argument
            for offset, service in enumerate(_SERVICES)
            for argument in (f"--{service}Port", str(self.port + offset), f"--{service}Host", LOOPBACK)
        ]
        # A newer SDK asks for an API version that the emulator does not know yet.
        options = ("--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
        return ["node", str(self._script), *ports, *options]

    def _log_tail(self) -> str:
        return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-15:])


def all_azurites() -> list[Azurite]:
    """Return every emulator that was started and not stopped, on whichever port."""
    return [Azurite(int(path.stem.rpartition("-")[2])) for path in (WORK / "run").glob("azurite-*.pid")]
