"""Servers that outlive the command which started them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.config import REPOSITORY, ToolError

# The shell writes down the pid and ends at once: no moment exists in which a killed caller leaves a server
# without a record, the server's parent is init, which reaps it, and a Ctrl-C in the terminal does not reach it.
_DETACH = '"$@" & echo $! >"$PID_FILE"'


def spawn(command: Sequence[str], *, pid_file: Path, log: Path, environ: Mapping[str, str] | None = None) -> int:
    """Start a command in a session of its own.

    Args:
        command: program and arguments.
        pid_file: where the pid is recorded.
        log: standard output and error go here; what an earlier run wrote is dropped.
        environ: the command's environment; this process's own where None.

    Returns:
        The pid of the command.
    """
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            check=True,
            env={**(os.environ if environ is None else environ), "PID_FILE": str(pid_file)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return int(pid_file.read_text())


def alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended but is not reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The command name before it is in parentheses and may hold blanks.
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def exists(pid: int) -> bool:
    """Say whether the kernel still knows a pid, be it of a process that ended and was not reaped."""
    return Path(f"/proc/{pid}").exists()


def command_line(pid: int) -> list[str]:
    """Return a process's arguments, or nothing where it does not run."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return raw.decode(errors="replace").split("\0")[:-1]


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again, at most for so many seconds, and return the last answer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def run_step(title: str, command: Sequence[str], *, log: Path) -> None:
    """Run a long command that shows a person that it is alive.

    Raises:
        ToolError: it failed; the end of its log has been printed.
    """
    done = subprocess.run([str(REPOSITORY / "tools" / "step"), title, str(log), *command], check=False)
    if done.returncode != 0:
        raise ToolError(f"{title}: failed, see {log}")
