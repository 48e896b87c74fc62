"""`make audit`: does anybody know of a hole in what the lock file holds? pip-audit asks PyPI, and where that fails OSV.

A known hole fails it. A service that cannot be reached, or does not know a package, is a loud warning: its bad night
must not hold up a fix. AUDIT=strict makes that a failure too, for a job that runs once a day. pip-audit by
itself calls a package that the service does not know clean, and leaves out what this Python does not install.

Arguments take the place of those that choose the service.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# It holds all of requirements.lock.
LOCK = Path("requirements-dev.lock")
_SERVICES = (("--vulnerability-service", "pypi"), ("--vulnerability-service", "osv"))
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Audit:
    """What one service said.

    Attributes:
        holes: one line for each that is known.
        is_whole: whether it answered for every package.
        reason: why not.
    """

    holes: tuple[str, ...] = ()
    is_whole: bool = True
    reason: str = ""


def pins(lock: str) -> list[str]:
    """Return `name==version` of every line of a lock file, whatever Python it is for."""
    return [f"{name}=={version}" for name, version in _PIN.findall(lock)]


def ask(packages: Sequence[str], service: Sequence[str]) -> Audit:
    """Let pip-audit ask one service.

    Args:
        packages: `name==version`.
        service: pip-audit's arguments that choose it.
    """
    rounds: list[dict[str, str]] = []
    for package in packages:
        name = package.partition("==")[0]
        # pip-audit takes each name once, and the lock may have another version for an older Python.
        free = next((known for known in rounds if name not in known), None)
        if free is None:
            rounds.append(free := {})
        free[name] = package
    holes: tuple[str, ...] = ()
    for known in rounds:
        audit = _ask_once(list(known.values()), service)
        holes += audit.holes
        if not audit.is_whole:
            return Audit(holes, is_whole=False, reason=audit.reason)
    return Audit(holes)


def _ask_once(packages: Sequence[str], service: Sequence[str]) -> Audit:
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
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        return Audit(is_whole=False, reason=lines[-1][:160])
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or '-'}"
        for package in found
        for hole in package.get("vulns", ())
    ]
    answered = {f"{package['name']}=={package['version']}" for package in found if "skip_reason" not in package}
    unknown = sum(package not in answered for package in packages)
    return Audit(tuple(holes), not unknown, f"it does not know {unknown} of {len(packages)} packages")


def main(service: Sequence[str] = (), lock: Path = LOCK) -> int:
    """Ask, say what came of it, and return the exit code."""
    packages = pins(lock.read_text(encoding="utf-8"))
    audit = Audit(is_whole=False, reason="nobody was asked")
    for asked in (service,) if service else _SERVICES:
        audit = ask(packages, asked)
        if audit.holes or audit.is_whole:
            break
        print(f"audit: no answer from {' '.join(asked)}: {audit.reason}", file=sys.stderr)
    for hole in audit.holes:
        print(f"audit: {hole}")
    if audit.holes:
        return 1
    if audit.is_whole:
        print(f"audit: {len(packages)} packages, no known hole")
        return 0
    print(f"WARNING: {lock} WAS NOT AUDITED: nobody said whether there are holes in it", file=sys.stderr)
    return 1 if os.environ.get("AUDIT") == "strict" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
