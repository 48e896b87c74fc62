"""`make serve`: the function app on this machine, a sample day to restore, and the curl line that does it."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2.extensions import parse_dsn

from tools import sample_target, services
from tools.config import LOGS, LOOPBACK, REPOSITORY, Config, ToolError, check_port_free, load_config, run_tool
from tools.process import wait_until


@dataclass(frozen=True)
class Prepared:
    """A sample day that waits to be restored.

    Attributes:
        demo_dsn: connection string of the database whose hypertable lacks the day.
        body: the JSON body of the request that restores it.
        environ: the function app's environment.
    """

    demo_dsn: str
    body: str
    environ: Mapping[str, str]


def prepare(config: Config) -> Prepared:
    """Bring the services up, upload the sample day and empty the day in its hypertable.

    Raises:
        ToolError: a port is taken, the host's too, which is asked for first: before the long steps.
    """
    check_port_free(config.host_port, "HOST_PORT", "the function host")
    print("-- TimescaleDB and Azurite", flush=True)
    found = services.up(config)
    print("-- sample day", flush=True)
    size = sample_target.upload(found.storage)
    print(f"   {sample_target.FILESYSTEM}/{sample_target.BLOB}: {size:,} bytes")
    demo_dsn = sample_target.prepare_table(found.dsn)
    server = parse_dsn(demo_dsn)
    environ = {
        **os.environ,
        **found.variables(),
        "ADLS_CONNECTION_STRING": found.storage,
        "AzureWebJobsStorage": found.storage,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        # Core Tools runs the worker with this interpreter.
        "languageWorkers__python__defaultExecutablePath": sys.executable,
        "PYTHONPATH": str(REPOSITORY),
        # A proxy has no way to this machine's loopback.
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), LOOPBACK))),
        "no_proxy": ",".join(filter(None, (os.environ.get("no_proxy"), LOOPBACK))),
    }
    fields = ("host", "port", "user", "password", "sslmode")
    if os.environ.get("RESTORE_TEST_DSN"):
        # The password of a user's own server is not for the screen: libpq finds it in the environment.
        environ["PGPASSWORD"] = server.pop("password", "")
    pg = {name: int(server[name]) if name == "port" else server[name] for name in fields if name in server}
    body = {"adls_url": sample_target.adls_url(found.storage), "pg": {"sslmode": "prefer", **pg}}
    return Prepared(demo_dsn, json.dumps(body), environ)


def curl_command(config: Config, body: str) -> list[str]:
    """Return the command that restores the sample day."""
    return [
        *("curl", "--silent", "--show-error", "--request", "POST"),
        f"http://{LOOPBACK}:{config.host_port}/api/restore",
        *("--header", "Content-Type: application/json", "--data", body),
    ]


@contextmanager
def running_host(
    config: Config, environ: Mapping[str, str], *, log_to_screen: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the function app for the time of the body: by Core Tools where they are installed, else by tools/host.py.

    Raises:
        ToolError: the host ended, or did not answer within 120 s.
    """
    if shutil.which("func"):
        command = ["func", "start", "--port", str(config.host_port)]
    else:
        command = [sys.executable, "-m", "tools.host", "--port", str(config.host_port)]
    log = LOGS / "host.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        screen = None if log_to_screen else output
        host = subprocess.Popen(command, cwd=REPOSITORY, env=dict(environ), stdout=screen, stderr=screen)
    try:
        wait_until(lambda: host.poll() is not None or _answers(config.host_port), 120)
        if host.poll() is not None or not _answers(config.host_port):
            said = "" if log_to_screen else log.read_text(errors="replace")[-3000:]
            raise ToolError(f"{command[0]} does not serve port {config.host_port}\n{said}")
        yield host
    finally:
        host.terminate()
        host.wait(timeout=60)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/api/restore")
        # Core Tools answer 503 while they start; GET is no method of this route.
        return connection.getresponse().status == http.HTTPStatus.NOT_FOUND
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Serve until Ctrl-C."""
    config = load_config()
    prepared = prepare(config)
    with running_host(config, prepared.environ, log_to_screen=True) as host:
        print(
            f"\n-- restore the sample day (Ctrl-C ends the host):\n{shlex.join(curl_command(config, prepared.body))}\n",
            flush=True,
        )
        host.wait()


if __name__ == "__main__":
    run_tool(main)
