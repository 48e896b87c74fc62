"""TimescaleDB and Azurite in containers, for machines where a Docker engine answers."""

from __future__ import annotations

import os
import shutil
import subprocess

from tools.azurite import Azurite, accounts
from tools.config import LOGS, REPOSITORY, Config, ToolError
from tools.process import run_step, wait_until

_MAJOR = {"trixie": "17", "forky": "18"}


def available() -> bool:
    """Say whether a Docker engine answers and the compose plug-in is there."""
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, check=False, capture_output=True).returncode == 0 for command in asked)


def up(config: Config, *services: str) -> None:
    """Start services of compose.yaml and wait until they are healthy.

    Raises:
        ToolError: the engine refused, or Azurite did not answer within 60 s.
    """
    run_step(
        f"Docker: {', '.join(services)}",
        # Compose reads its variables from the environment of the command.
        ["env", *_variables(config), *_compose("up", "--detach", "--wait"), *services],
        log=LOGS / "docker.log",
    )
    # Azurite's image has no program for a health check.
    if "azurite" in services and not wait_until(Azurite(config.azurite_port).answers, 60):
        raise ToolError("Azurite's container does not answer; docker compose logs azurite says more")


def down(config: Config) -> None:
    """Stop and remove the containers and their data."""
    subprocess.run(["env", *_variables(config), *_compose("down", "--volumes")], check=True)


def _compose(*arguments: str) -> list[str]:
    return ["docker", "compose", "--file", str(REPOSITORY / "compose.yaml"), *arguments]


def _variables(config: Config) -> list[str]:
    return [
        f"PATH={os.environ['PATH']}",
        f"PG={config.suite}",
        f"PG_MAJOR={_MAJOR[config.suite]}",
        f"PG_PORT={config.pg_port}",
        f"AZURITE_PORT={config.azurite_port}",
        f"AZURITE_ACCOUNTS={accounts()}",
        f"AZURITE_QUEUE_PORT={config.azurite_port + 1}",
        f"AZURITE_TABLE_PORT={config.azurite_port + 2}",
    ]
