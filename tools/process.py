"""Servers that outlive the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tools.config import REPOSITORY, ToolError

# The shell records the pid and ends at once. So a caller that is killed at any moment leaves no server without a
# record, the server's parent is init, which reaps it, and a Ctrl-C in the terminal does not reach it.
_DETACH = '"$@" & echo $! >"$PID_FILE"'


def spawn(
    command: Sequence[str],
    *,
    pid_file: Path,
    log: Path | None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Start a command in a session of its own.

    Args:
        command: program and arguments.
        pid_file: where the pid is recorded.
        log: the file for standard output and error, emptied first; those of this process where None.
        environ: the command's environment; this process's own where None.
        cwd: the command's working folder; this process's own where None.

    Returns:
        The pid of the command.
    """
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        output = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = stack.enter_context(log.open("wb"))
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            check=True,
            cwd=cwd,
            env={**(os.environ if environ is None else environ), "PID_FILE": str(pid_file)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return int(pid_file.read_text())


def spawned(pid_file: Path) -> int | None:
    """Return the pid of the running command that `spawn` recorded in a file, or None.

    The command has the file's name in its environment, so a recycled pid is never taken for it.
    """
    try:
        pid = int(pid_file.read_text())
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if f"PID_FILE={pid_file}".encode() in environ.split(b"\0") and alive(pid) else None


def alive(pid: int) -> bool:
    """Say whether a process runs; one that has ended but is not reaped yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # The command name before it is in parentheses and may hold blanks.
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def exists(pid: int) -> bool:
    """Say whether the kernel still knows a pid; that of a process that ended and was not reaped counts."""
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


def send_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and to all that it started in its process group. It may be gone already."""
    try:
        os.killpg(os.getpgid(pid), number)
    except ProcessLookupError:
        return


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.05) -> bool:
    """Ask again and again, for at most so many seconds, and return the last answer.

    Args:
        condition: what is asked.
        seconds: the most.
        pause: how long to wait between two times, in seconds. Longer where asking takes the processor's time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def run_step(title: str, command: Sequence[str], *, log: Path) -> None:
    """Run a long command and show a person that it is alive.

    Raises:
        ToolError: it failed; the end of its log has been printed.
    """
    with subprocess.Popen([str(REPOSITORY / "tools" / "step"), title, str(log), *command]) as step:
        try:
            failed = step.wait() != 0
        except BaseException:
            # Not killed, as subprocess.run does: it must end the command first.
            step.terminate()
            raise
    if failed:
        raise ToolError(f"{title}: failed, see {log}")
