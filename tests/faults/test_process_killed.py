"""The function's process is killed, and calls that reach two hosts at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.fix_function import answer_of, function_process
from tests.faults.fix_scene import Scene, gate


@pytest.mark.parametrize("moment", ["copy", "lock"])
def test_killed_in_the_middle_of_a_restore(scene: Scene, moment: str) -> None:
    """The server looks for its client even while it waits for a lock itself, and the temporary file has no name."""
    with ExitStack() as stack:
        stack.enter_context(gate(scene))
        process = stack.enter_context(function_process(scene.body(), TMPDIR=str(scene.spool)))
        scene.wait_until_locked_out()
        files = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        spools = [name for name in files if name.startswith(str(scene.spool)) and name.endswith("(deleted)")]
        assert bool(spools) == (scene.copy["transfer"] == "spool"), files
        if moment == "lock":
            process.kill()
            process.wait()
            # The gate is still shut.
            scene.wait_until_gone()
    assert process.returncode == -9
    scene.wait_until_gone()
    assert scene.table() == scene.before
    scene.check_nothing_left()
    scene.check_repeat()


def test_two_hosts_at_once(scene: Scene) -> None:
    """One of them works, the other one is told."""
    with gate(scene) as let_go, function_process(scene.body()) as first:
        scene.wait_until_locked_out()
        with function_process(scene.body()) as second:
            refused = answer_of(second)
        let_go()
        answer = answer_of(first)
    assert (refused.code, refused.status) == ("RestoreInProgress", 409), refused.body
    assert not refused.body["error"]["retryable"]
    scene.check_done(answer)
