"""restorectl in a process of its own, without the import that is most of what a call takes."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# There are hundreds of calls. So each is a fork of a process that has imported the program and done nothing else.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "restorectl.commands"])
_STREAMS = ("stdin", "stdout", "stderr")
_MOST_SECONDS = 120


def run_restorectl(arguments: Sequence[str], *, environ: Mapping[str, str], stdin: str) -> tuple[int, str, str]:
    """Run the program, and return its exit code and what it wrote to the standard output and the standard error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stream, text in zip(_STREAMS, (stdin, "", ""), strict=True):
            folder.joinpath(stream).write_text(text)
        process = _FORKS.Process(target=_main, args=(folder, arguments, environ))
        process.start()
        process.join(_MOST_SECONDS)
        status = process.exitcode
        if status is None:
            process.kill()
            process.join()
        process.close()
        stdout, stderr = (folder.joinpath(stream).read_text() for stream in _STREAMS[1:])
    assert status is not None, f"it does not end: {stdout}{stderr}"
    return status, stdout, stderr


def _main(folder: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    from restorectl.commands import main  # noqa: PLC0415 - the tests' own process does without it

    for number, stream in enumerate(_STREAMS):
        file = os.open(folder / stream, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["restorectl", *arguments]
    main()
