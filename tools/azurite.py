"""Azurite, Microsoft's storage emulator, installed by npm in `.work/`."""

from __future__ import annotations

import os
import shutil

from tools.config import LOGS, LOOPBACK, WORK, ToolError, check_port_free
from tools.local_server import LocalServer, get
from tools.process import run_step

PACKAGE = "azurite@^3.35.0"
ACCOUNT = "devstoreaccount1"
# Published by Microsoft: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# Further accounts with the same key. Each process of the tests has its own, since the name of an app's queue is fixed.
JOB_ACCOUNTS = tuple(f"restorejobs{number}" for number in range(8))
_SERVICES = ("blob", "queue", "table")


def connection_string(port: int) -> str:
    """Return the connection string of an Azurite whose first port is this one."""
    endpoints = (
        f"{service.capitalize()}Endpoint=http://{LOOPBACK}:{port + offset}/{ACCOUNT};"
        for offset, service in enumerate(_SERVICES)
    )
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{''.join(endpoints)}"


def accounts() -> str:
    """Return what Azurite takes as AZURITE_ACCOUNTS."""
    return ";".join(f"{account}:{KEY}" for account in (ACCOUNT, *JOB_ACCOUNTS))


class Azurite(LocalServer):
    """A storage emulator that keeps its blobs in memory, and so loses them when it is stopped.

    Args:
        port: TCP port of the blob service on 127.0.0.1; queues and tables take the next two.
    """

    kind = "azurite"
    _npm = WORK / "npm"

    def answers(self) -> bool:
        """Say whether an Azurite blob service answers on the port."""
        answer = get(self.port)
        return answer is not None and (answer.getheader("Server") or "").startswith("Azurite-Blob")

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
        if self.pid is not None:
            return
        for offset, service in enumerate(_SERVICES):
            check_port_free(self.port + offset, "AZURITE_PORT", f"Azurite's {service} service")
        environ = {**os.environ, "AZURITE_ACCOUNTS": accounts()}
        self.run(self._command(), seconds=60, log=LOGS / f"azurite-{self.port}.log", environ=environ)

    def _command(self) -> list[str]:
        ports = [
            argument
            for offset, service in enumerate(_SERVICES)
            for argument in (f"--{service}Port", str(self.port + offset), f"--{service}Host", LOOPBACK)
        ]
        # A newer SDK asks for an API version that the emulator does not know yet.
        options = ("--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
        script = self._npm / "node_modules/azurite/dist/src/azurite.js"
        return ["node", str(script), *ports, *options]
