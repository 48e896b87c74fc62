"""The function's process is killed, and calls that reach two hosts at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.fix_fault_case import FaultCase, gate
from tests.faults.fix_function import answer_of, function_process


@pytest.mark.parametrize("moment", ["copy", "lock"])
def test_killed_in_the_middle_of_a_restore(fault_case: FaultCase, moment: str) -> None:
    """The server looks for its client even while it waits for a lock itself, and the temporary file has no name."""
    with ExitStack() as stack:
        stack.enter_context(gate(fault_case))
        process = stack.enter_context(function_process(fault_case.body(), TMPDIR=str(fault_case.spool)))
        fault_case.wait_until_locked_out()
        links = list(Path(f"/proc/{process.pid}/fd").iterdir())
        unnamed = [link for link in links if str(link.readlink()).startswith(str(fault_case.spool))]
        assert all(str(link.readlink()).endswith("(deleted)") for link in unnamed)
        # libffi may keep the code of a callback in such a file too.
        spools = [link for link in unnamed if b"time," in link.read_bytes()]
        assert bool(spools) == (fault_case.copy["transfer"] == "spool"), unnamed
        if moment == "lock":
            process.kill()
            process.wait()
            # The gate is still shut.
            fault_case.wait_until_gone()
    assert process.returncode == -9
    fault_case.wait_until_gone()
    assert fault_case.table() == fault_case.before
    fault_case.check_nothing_left()
    fault_case.check_repeat()


def test_two_hosts_at_once(fault_case: FaultCase) -> None:
    """One of them loads, and the other one gets an error that says so."""
    with gate(fault_case) as let_go, function_process(fault_case.body()) as first:
        fault_case.wait_until_locked_out()
        with function_process(fault_case.body()) as second:
            refused = answer_of(second)
        let_go()
        answer = answer_of(first)
    assert (refused.code, refused.status) == ("RestoreInProgress", 409), refused.body
    assert not refused.body["error"]["retryable"]
    fault_case.check_done(answer)
