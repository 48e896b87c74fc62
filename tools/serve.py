"""`make serve`: the function app on this machine, a sample day to restore, and the commands that restore it."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import parse_dsn

from tools import sample_target, services
from tools.config import LOOPBACK, REPOSITORY, Config, check_port_free, load_config, run_tool
from tools.host_process import HostProcess
from tools.sample_day import ROWS
from tools.services import Services


@dataclass(frozen=True)
class Prepared:
    """A sample day that waits to be restored.

    Attributes:
        demo_dsn: connection string of the database whose hypertable lacks the day.
        archive_bytes: the size of the archive.
        body: the JSON body of the request that restores it.
        environ: the function app's environment.
    """

    demo_dsn: str
    archive_bytes: int
    body: str
    environ: Mapping[str, str]


def prepare(config: Config) -> Prepared:
    """Bring the services up, upload the sample day and empty the day in its hypertable.

    Raises:
        ToolError: a port is taken. The host's port is checked first, before the long steps.
    """
    check_port_free(config.host_port, "HOST_PORT", "the function host")
    print("-- TimescaleDB and Azurite", flush=True)
    found = services.up(config)
    print(
        f"-- sample day: uploaded, and its rows removed from silver.telemetry of {sample_target.DATABASE}", flush=True
    )
    size = sample_target.upload_sample_day(found.storage)
    print(f"   {sample_target.FILESYSTEM}/{sample_target.BLOB}: {size:,} bytes")
    demo_dsn = sample_target.prepare_table(found.dsn)
    body = request_body(found, sample_target.adls_url(found.storage))
    return Prepared(demo_dsn, size, body, app_environ(found))


def request_body(found: Services, adls_url: str) -> str:
    """Return the JSON body of a request that restores an archive into the local TimescaleDB."""
    server = parse_dsn(found.dsn)
    pg: dict[str, str | int] = {"sslmode": "prefer"}
    pg |= {name: server[name] for name in ("host", "user", "password", "sslmode") if name in server}
    if "port" in server:
        pg["port"] = int(server["port"])
    return json.dumps({"adls_url": adls_url} if _is_users_own() else {"adls_url": adls_url, "pg": pg})


def _is_users_own() -> bool:
    """Say whether the server is the user's own. Its password is not for the screen: the app settings hold it."""
    return bool(os.environ.get("RESTORE_TEST_DSN"))


def app_environ(found: Services) -> dict[str, str]:
    """Return the function app's environment. Its settings name the database server and hold its password."""
    environ = {
        **os.environ,
        **found.variables(),
        "ADLS_CONNECTION_STRING": found.storage,
        # So that a path alone, as docs/cli.md has it, names an archive here too.
        "ADLS_ACCOUNT_URL_DEFAULT": f"https://{sample_target.account_host(found.storage)}",
        "ADLS_FILESYSTEM_DEFAULT": sample_target.FILESYSTEM,
        "AzureWebJobsStorage": found.storage,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHONPATH": str(REPOSITORY),
        # A proxy cannot reach this machine's loopback.
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), LOOPBACK))),
        "no_proxy": ",".join(filter(None, (os.environ.get("no_proxy"), LOOPBACK))),
    }
    server = {"sslmode": "prefer", **parse_dsn(found.dsn)}
    fields = ("host", "port", "user", "password", "sslmode")
    return environ | {f"PG{name.upper()}": server[name] for name in fields if name in server}


def curl_command(config: Config, body: str) -> list[str]:
    """Return the command that sends a request to the local host."""
    return [
        *("curl", "--silent", "--show-error", "--request", "POST"),
        f"http://{LOOPBACK}:{config.host_port}/api/restore",
        *("--header", "Content-Type: application/json", "--data", body),
    ]


def restorectl_command(path: str) -> str:
    """Return the command line that restores an archive of the local storage account."""
    return shlex.join(["restorectl", "restore", path])


def short_answer(answer: Mapping[str, Any]) -> str:
    """Return the part of an answer that a person looks at first, in six lines of JSON."""
    names = ("status", "database", "target_table", "rows_loaded")
    return json.dumps({name: answer.get(name) for name in names}, indent=2, ensure_ascii=False)


@contextmanager
def running_host(config: Config, environ: Mapping[str, str], *, log_to_screen: bool) -> Iterator[HostProcess]:
    """Run the function app for the time of the body.

    Raises:
        ToolError: the host ended, or did not answer in time.
    """
    host = HostProcess(config.host_port)
    host.start(environ, log_to_screen=log_to_screen)
    try:
        yield host
    finally:
        host.stop()


def main() -> None:
    """Serve until Ctrl-C, SIGTERM or `make down`."""
    config = load_config()
    prepared = prepare(config)
    expected = {
        "status": "ok",
        "database": sample_target.DATABASE,
        "target_table": "silver.telemetry",
        "rows_loaded": ROWS,
    }
    with running_host(config, prepared.environ, log_to_screen=True) as host:
        print("\n-- restore the sample day (Ctrl-C ends the host):")
        print(shlex.join(curl_command(config, prepared.body)))
        print(f"\n-- look at what runs and what was restored: http://{LOOPBACK}:{config.host_port}/api/ui")
        print(f"\n-- the answer has this, and more:\n{short_answer(expected)}")
        print("\n-- or by the command line (pipx install .; docs/cli.md):")
        print(f"export RESTORE_URL=http://{LOOPBACK}:{config.host_port}/api")
        print(f"{restorectl_command(sample_target.BLOB)}\n", flush=True)
        while host.pid is not None:
            time.sleep(0.5)


if __name__ == "__main__":
    run_tool(main)
