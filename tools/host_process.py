"""The function app as a process on this machine: by Core Tools where they are installed, else by tools/host.py."""

from __future__ import annotations

import http.client
import shutil
import signal
import sys
from collections.abc import Mapping

from tools.config import LOGS, LOOPBACK, REPOSITORY, WORK, ToolError, check_port_free
from tools.process import alive, send_group, spawn, spawned, wait_until


class HostProcess:
    """The function app on one port. Any process may start it and any other stop it.

    Args:
        port: TCP port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.log = LOGS / "host.log"
        self._pid_file = WORK / "run" / f"host-{port}.pid"

    @property
    def pid(self) -> int | None:
        """The pid of the running host, or None."""
        return spawned(self._pid_file)

    def start(self, environ: Mapping[str, str], *, log_to_screen: bool) -> None:
        """Start the host and wait until it answers.

        Args:
            environ: the function app's environment.
            log_to_screen: whether the host writes to the screen, else to a file.

        Raises:
            ToolError: the port is taken, or the host ended or did not answer within 120 s.
        """
        check_port_free(self.port, "HOST_PORT", "the function host")
        try:
            self._start(environ, log_to_screen=log_to_screen)
        except BaseException:
            self.stop()
            raise

    def _start(self, environ: Mapping[str, str], *, log_to_screen: bool) -> None:
        if shutil.which("func"):
            command = ["func", "start", "--port", str(self.port)]
        else:
            command = [sys.executable, "-m", "tools.host", "--port", str(self.port)]
        pid = spawn(
            command,
            pid_file=self._pid_file,
            log=None if log_to_screen else self.log,
            # Core Tools runs the worker with this interpreter.
            environ={**environ, "languageWorkers__python__defaultExecutablePath": sys.executable},
            cwd=REPOSITORY,
        )
        wait_until(lambda: not alive(pid) or self.answers(), 120)
        if not alive(pid) or not self.answers():
            said = "" if log_to_screen else self.log.read_text(errors="replace")[-3000:]
            raise ToolError(f"{command[0]} does not serve port {self.port}\n{said}")

    def answers(self) -> bool:
        """Say whether a function host with this app answers on the port."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            connection.request("GET", "/api/restore")
            # Core Tools answer 503 while they start; GET is no method of this route.
            return connection.getresponse().status == http.HTTPStatus.NOT_FOUND
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the host and what it started; a restore in flight is rolled back.

        Raises:
            ToolError: it still runs after 60 s.
        """
        pid = self.pid
        if pid is None:
            return
        send_group(pid, signal.SIGTERM)
        if not wait_until(lambda: not alive(pid), 60):
            raise ToolError(f"the function host (pid {pid}) does not end; end it by: kill -9 {pid}")
        self._pid_file.unlink(missing_ok=True)


def all_hosts() -> list[HostProcess]:
    """Return every host that was started and not stopped, on whichever port."""
    return [HostProcess(int(path.stem.rpartition("-")[2])) for path in (WORK / "run").glob("host-*.pid")]
