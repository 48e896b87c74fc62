"""The help, as a process prints it: each command has an example, and the example is right."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.unit.restorectl.fix_help import COMMANDS, run


def test_every_command_is_there() -> None:
    assert set(COMMANDS) == {
        *("restore", "backfill", "days", "status", "list", "watch", "cancel", "retry", "dry-run", "open"),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_that_can_be_run(name: str) -> None:
    shown = run(name, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    # The key is never on a command line.
    assert set(re.findall(r"--key[\w-]*", shown.stdout)) == {"--key-file", "--key-command"}
    example = re.search(r"Example:\n\n +restorectl (.*)\n", shown.stdout)
    assert example is not None, shown.stdout
    arguments = shlex.split(example[1])
    assert arguments[0] == name
    # It gets as far as the network.
    done = run(*arguments, "--retry-for", "0", RESTORE_URL="http://127.0.0.1:1/api")
    assert done.returncode == (0 if name == "open" else 1), done.stderr
    assert name == "open" or "cannot be reached" in done.stderr


def test_a_shell_is_completed() -> None:
    listed = run(_RESTORECTL_COMPLETE="complete_bash", COMP_WORDS="restorectl ca", COMP_CWORD="1")
    assert listed.stdout.strip() == "cancel"
