"""The variables that the tools read, and where they put things."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# When the local host looks for archives that are not restored, if a rule says so.
DAILY_SCHEDULE = "0 0 6 * * *"
REPOSITORY = Path(__file__).resolve().parent.parent
WORK = REPOSITORY / ".work"
LOGS = WORK / "logs"
LOOPBACK = "127.0.0.1"
SUITES = ("trixie", "forky")


class ToolError(Exception):
    """The machine cannot do what was asked. The message says what to do, so it is shown without a traceback."""


def run_tool(main: Callable[[], None]) -> NoReturn:
    """Run a command to its end: a ToolError is one line, Ctrl-C no traceback, and SIGTERM ends what it started."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # By default SIGTERM ends Python at once, and no `finally` runs.
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        main()
    except ToolError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


@dataclass(frozen=True)
class Config:
    """The variables of the make targets, checked.

    Attributes:
        suite: Debian suite that PostgreSQL comes from: `trixie` (17) or `forky` (18). Variable `PG`.
        pg_port: TCP port of PostgreSQL; each suite has its own default. Variable `PG_PORT`.
        azurite_port: first of three TCP ports: blob, queue, table. Variable `AZURITE_PORT`.
        host_port: TCP port of the function host. Variable `HOST_PORT`.
    """

    suite: str
    pg_port: int
    azurite_port: int
    host_port: int


def load_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Read the variables.

    Raises:
        ToolError: an unknown suite, or a value that is not a port.
    """
    suite = environ.get("PG") or SUITES[0]
    if suite not in SUITES:
        raise ToolError(f"PG={suite} is not known; choose one of: {', '.join(SUITES)}")
    return Config(
        suite=suite,
        # Servers of both suites may run at the same time.
        pg_port=_port(environ, "PG_PORT", 15432 + SUITES.index(suite)),
        azurite_port=_port(environ, "AZURITE_PORT", 11000),
        host_port=_port(environ, "HOST_PORT", 7071),
    )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    # Azurite takes the next two ports as well.
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 65533:  # noqa: PLR2004
        raise ToolError(f"{name}={text} is not a port: a number from 1 to 65533")
    return int(text)


def check_port_free(port: int, variable: str, purpose: str) -> None:
    """Make sure that a server can listen on a loopback port.

    Raises:
        ToolError: another program listens there; the message names the port and the variable that changes it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it, a connection of the last run that lingers in TIME_WAIT would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as exc:
            raise ToolError(
                f"port {port} on {LOOPBACK} is taken, and {purpose} needs it: "
                f"end the program that listens there, or choose another with {variable}=<port>"
            ) from exc
