"""What the process says beside its answers: on standard error and output, by whatever code of it, and in the log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# Stands in rows. It has no letters that psycopg2, libpq or PostgreSQL would escape.
CANARY = "canary-row-Zq8"


class Quiet:
    """Looks for the canary. `capfd` sees what C code and child processes write, too."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capfd = capfd
        self._caplog = caplog
        self._seen = ""

    def check(self, body: Any = None) -> None:
        """Fail if an answer, the log or one of the standard streams holds the canary."""
        output, errors = self._capfd.readouterr()
        # For pytest, which shows them beside a failure.
        self._seen += f"{output}{errors}"
        for said in (output, errors, self._caplog.text, json.dumps(body)):
            assert CANARY.lower() not in said.lower(), said[:2000]

    def end(self) -> None:
        """Look once more, and hand on what was written."""
        self.check()
        sys.stdout.write(self._seen)


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Quiet]:
    """Look at the whole of each fault, whatever else the test is about."""
    found = Quiet(capfd, caplog)
    yield found
    found.end()
