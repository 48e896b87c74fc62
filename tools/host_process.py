"""The function app as a process on this machine: by Core Tools if they are installed, else by tools/host.py."""

from __future__ import annotations

import http
import shutil
import sys
from collections.abc import Mapping

from tools.config import DAILY_SCHEDULE, LOGS, check_port_free
from tools.local_server import LocalServer, get


class HostProcess(LocalServer):
    """The function app on one port. If it is stopped, a restore in flight is rolled back."""

    kind = "host"
    log = LOGS / "host.log"

    def start(self, environ: Mapping[str, str], *, log_to_screen: bool) -> None:
        """Start the host and wait until it answers.

        Args:
            environ: the function app's environment.
            log_to_screen: whether the host writes to the screen, else to a file.

        Raises:
            ToolError: the port is taken, or the host ended or did not answer within 120 s.
        """
        check_port_free(self.port, "HOST_PORT", "the function host")
        command = ["func", "start"] if shutil.which("func") else [sys.executable, "-m", "tools.host"]
        self.run(
            [*command, "--port", str(self.port)],
            seconds=120,
            log=None if log_to_screen else self.log,
            environ={
                # The real host does not start without it either.
                "RESTORE_DAILY_SCHEDULE": DAILY_SCHEDULE,
                **environ,
                # Core Tools runs the worker with this interpreter.
                "languageWorkers__python__defaultExecutablePath": sys.executable,
            },
        )

    def answers(self) -> bool:
        """Say whether a function host with this app answers on the port."""
        answer = get(self.port, "/api/restore")
        # Core Tools answer 503 while they start; this route has no method GET.
        return answer is not None and answer.status == http.HTTPStatus.NOT_FOUND
