"""The function in a process of its own: another host, or one that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.fix_app import Answer
from tools.config import REPOSITORY

_PROGRAM = """
import json, sys
from RestoreChunk import main
from tests.fix_call import http_request
response = main(http_request(sys.stdin.buffer.read()))
json.dump([response.status_code, json.loads(response.get_body()), dict(response.headers)], sys.stdout)
"""


@contextmanager
def function_process(body: dict[str, Any], **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Send a request to a new process; it is killed at the end, if it has not ended by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        cwd=REPOSITORY,
        env=os.environ | environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(body).encode())
        process.stdin.close()
        # communicate() would flush it once more.
        process.stdin = None
        try:
            yield process
        finally:
            process.kill()


def answer_of(process: subprocess.Popen[bytes]) -> Answer:
    """Wait for the process's answer."""
    output, _ = process.communicate(timeout=60)
    status, body, headers = json.loads(output)
    return Answer(status, body, headers)
