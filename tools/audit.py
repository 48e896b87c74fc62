"""`make audit`: searches the locked packages for known vulnerabilities. pip-audit asks PyPI, or OSV if PyPI fails.

A known vulnerability fails the audit. If a service cannot be reached, or does not know a package, a loud warning says
so: an outage must not hold up a fix. AUDIT=strict makes that a failure too, for a job that runs once a day.

A line in the Makefile cannot do it: pip-audit ends with 1 both for a vulnerability and for a service that gives no
answer. It calls a package clean that the service does not know, and omits what this Python does not install.

Arguments replace those that choose the service.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

# It holds all of requirements.lock.
LOCK = Path("requirements-dev.lock")
_SERVICES = (("--vulnerability-service", "pypi"), ("--vulnerability-service", "osv"))
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(lock: str) -> list[str]:
    """Return `name==version` of every line of a lock file, whatever Python it is for."""
    return [f"{name}=={version}" for name, version in _PIN.findall(lock)]


def ask(packages: Sequence[str], service: Sequence[str]) -> tuple[list[str], str]:
    """Let pip-audit ask one service.

    Args:
        packages: `name==version`.
        service: pip-audit's arguments that choose it.

    Returns:
        One line for each known vulnerability, and why the answer is not complete; empty if it is.
    """
    versions: dict[str, list[str]] = {}
    for package in packages:
        versions.setdefault(package.partition("==")[0], []).append(package)
    vulnerabilities: list[str] = []
    # pip-audit takes each name once, and the lock may have another version for an older Python.
    for part in zip_longest(*versions.values()):
        asked = [package for package in part if package is not None]
        try:
            found = _run(asked, service)
        except ValueError as exc:
            return vulnerabilities, str(exc)
        vulnerabilities += [
            f"{package['name']} {package['version']}: {vuln['id']}, fixed in {', '.join(vuln['fix_versions']) or '-'}"
            for package in found
            for vuln in package.get("vulns", ())
        ]
        answered = {f"{package['name']}=={package['version']}" for package in found if "skip_reason" not in package}
        if unknown := sum(package not in answered for package in asked):
            return vulnerabilities, f"it does not know {unknown} of {len(asked)} packages"
    return vulnerabilities, ""


def _run(packages: Sequence[str], service: Sequence[str]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(packages) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        done = subprocess.run(
            [*command, "--format", "json", "--requirement", wanted, *service],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError as exc:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ValueError(lines[-1][:160]) from exc


def main(service: Sequence[str] = (), lock: Path = LOCK) -> int:
    """Ask, print the outcome, and return the exit code."""
    packages = pins(lock.read_text(encoding="utf-8"))
    for asked in (service,) if service else _SERVICES:
        vulnerabilities, problem = ask(packages, asked)
        for vuln in vulnerabilities:
            print(f"audit: {vuln}")
        if vulnerabilities:
            return 1
        if not problem:
            print(f"audit: {len(packages)} packages, no known vulnerability")
            return 0
        print(f"audit: no answer from {' '.join(asked)}: {problem}", file=sys.stderr)
    print(f"WARNING: {lock} WAS NOT AUDITED: no service said whether it has vulnerabilities", file=sys.stderr)
    return 1 if os.environ.get("AUDIT") == "strict" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
