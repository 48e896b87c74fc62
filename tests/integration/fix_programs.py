"""PostgreSQL's client programs, as new as the server that they are to talk to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.integration.fix_database import Database
from tools.config import load_config
from tools.rootfs import RootFs


def run_program(database: Database, name: str, *arguments: str, stdin: str | None = None) -> str:
    """Run a client program against a database, and return what it writes.

    Args:
        database: the database.
        name: of the program: pg_dump or psql.
        arguments: after those that name the database.
        stdin: what it reads.
    """
    info = database.connection.info
    program = _program(name, info.server_version // 10000)
    done = subprocess.run(
        [*program, "--host", info.host, "--port", str(info.port), "--username", info.user, *arguments, info.dbname],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": info.password or ""},
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _program(name: str, server: int) -> list[str]:
    """Return the command of a program that is at least of the server's major version."""
    root = RootFs(load_config().suite)
    found = [root.command(f"{root.bin}/{name}")] if (root.path / f"{root.bin}/{name}".lstrip("/")).exists() else []
    found += [[path]] if (path := shutil.which(name)) else []
    for command in found:
        version = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True).stdout
        if int(re.findall(r"\d+", version)[0]) >= server:
            return command
    pytest.skip(f"there is no {name} for PostgreSQL {server} here")
