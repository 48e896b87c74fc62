from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.config import ToolError
from tools.local_server import LocalServer, free_port, get
from tools.process import alive


class Pages(LocalServer):
    kind = "test-pages"

    def answers(self) -> bool:
        return get(self.port) is not None

    def start(self, log: Path) -> None:
        self.run([sys.executable, "-m", "http.server", str(self.port), "--bind", "127.0.0.1"], seconds=30, log=log)


@pytest.fixture
def server() -> Pages:
    return Pages(free_port())


def test_any_command_finds_a_started_server_and_ends_it(server: Pages, tmp_path: Path) -> None:
    server.start(tmp_path / "log")
    (found,) = [each for each in Pages.all_started() if each.port == server.port]
    pid = found.pid
    assert pid is not None
    assert found.answers()
    found.stop()
    assert not alive(pid)
    assert (server.pid, server.answers()) == (None, False)
    server.stop()


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(server: Pages, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ToolError, match=f"does not serve port {server.port} by sh, see {log}:\nno such option$"):
        server.run(["sh", "-c", "echo no such option; exit 3"], seconds=30, log=log)


def test_a_server_that_does_not_answer_in_time_is_ended(server: Pages, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="does not serve"):
        server.run(["sleep", "600"], seconds=0.2, log=tmp_path / "log")
    assert server.pid is None
