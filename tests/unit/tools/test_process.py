from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.config import REPOSITORY, ToolError
from tools.process import alive, command_line, run_step, send, send_group, spawn, spawned, wait_until


def test_a_spawned_server_is_recorded_and_can_be_ended(tmp_path: Path) -> None:
    pid_file, log = tmp_path / "run" / "pid", tmp_path / "logs" / "log"
    pid = spawn(["sh", "-c", "echo started; exec sleep 60"], pid_file=pid_file, log=log)
    assert int(pid_file.read_text()) == pid
    assert wait_until(lambda: command_line(pid) == ["sleep", "60"], 10)
    assert log.read_text() == "started\n"
    # A Ctrl-C in the terminal goes to the session of the terminal.
    assert os.getsid(pid) != os.getsid(0)
    send(pid, signal.SIGTERM)
    assert wait_until(lambda: not alive(pid), 10)


def test_a_process_that_ended_but_was_not_reaped_is_not_alive() -> None:
    with subprocess.Popen(["true"]) as child:
        assert wait_until(lambda: not alive(child.pid), 10)
        assert Path(f"/proc/{child.pid}").exists()


def test_a_failed_step_shows_the_end_of_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with pytest.raises(ToolError, match=f"a step: failed, see {log}"):
        run_step("a step", ["sh", "-c", "seq 100; exit 3"], log=log)
    shown = capfd.readouterr()
    assert shown.out.startswith("-- a step\n")
    assert "the end of" in shown.err
    assert "| 100\n" in shown.err
    assert "| 75\n" not in shown.err


def test_an_interrupted_step_leaves_nothing_running(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [str(REPOSITORY / "tools/step"), "a step", str(log), "sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as step:
        assert wait_until(lambda: log.exists() and log.read_text().strip().isdecimal(), 10)
        grandchild = int(log.read_text())
        step.send_signal(signal.SIGTERM)
        assert step.wait(timeout=10) == 130
    assert wait_until(lambda: not alive(grandchild), 10)


def test_a_spawned_command_is_found_by_its_file_and_another_process_never(tmp_path: Path) -> None:
    pid_file, log = tmp_path / "run" / "pid", tmp_path / "log"
    assert spawned(pid_file) is None
    pid = spawn(["sleep", "60"], pid_file=pid_file, log=log, cwd=tmp_path)
    assert spawned(pid_file) == pid
    assert Path(f"/proc/{pid}/cwd").samefile(tmp_path)
    recycled = tmp_path / "recycled"
    for content in (str(pid), str(os.getpid()), "no number", ""):
        recycled.write_text(content)
        assert spawned(recycled) is None
    send_group(pid, signal.SIGTERM)
    assert wait_until(lambda: spawned(pid_file) is None, 10)
    send_group(pid, signal.SIGTERM)


def test_a_signal_to_the_group_reaches_what_the_command_started(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pid = spawn(["sh", "-c", "sleep 60 & echo $!; wait"], pid_file=tmp_path / "pid", log=log)
    assert wait_until(lambda: log.read_text().strip().isdecimal(), 10)
    send_group(pid, signal.SIGTERM)
    assert wait_until(lambda: not alive(pid) and not alive(int(log.read_text())), 10)


def test_sigterm_runs_the_end_of_a_tool_and_of_its_step(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"""
from pathlib import Path
from tools.config import run_tool
from tools.process import run_step

def main():
    try:
        run_step("a step", ["sh", "-c", "sleep 60 & echo $!; wait"], log=Path({str(log)!r}))
    finally:
        print("the end", flush=True)

run_tool(main)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as tool:
        assert wait_until(lambda: log.exists() and log.read_text().strip().isdecimal(), 10)
        tool.send_signal(signal.SIGTERM)
        output, _ = tool.communicate(timeout=10)
    assert tool.returncode == 128 + signal.SIGTERM
    assert output.endswith("the end\n")
    assert wait_until(lambda: not alive(int(log.read_text())), 10)
