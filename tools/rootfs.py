"""Debian's PostgreSQL and TimescaleDB in a root file system of their own, in `.work/`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools.config import LOGS, WORK, ToolError
from tools.process import run_step

_VERSIONS = {"trixie": "17", "forky": "18"}
_FLAGS = {
    "trixie": [],
    # Package lists of the testing suite are valid for a week; a mirror may lag behind.
    "forky": ['--aptopt=Acquire::Check-Valid-Until "false"'],
}
# `pipefail` keeps a tree that mmdebstrap did not finish from looking complete. A user cannot make device nodes, and
# bwrap brings its own. The tree is unpacked from a tar file here, not written by mmdebstrap: so the user owns every
# file, and rm can remove it.
_UNPACK = 'set -o pipefail; mmdebstrap "${@:3}" - | tar --extract --directory "$1" --exclude "$2"'


class RootFs:
    """A root file system with PostgreSQL in it, and the way to run a program inside.

    Root uses `chroot`; any other user needs `bwrap` (bubblewrap), and owns every file of the tree.

    Args:
        suite: Debian suite: `trixie` (PostgreSQL 17, TimescaleDB 2.19) or `forky` (PostgreSQL 18, 2.31).
        path: the tree's folder; `.work/rootfs/<suite>` where None.
    """

    def __init__(self, suite: str, path: Path | None = None) -> None:
        self.suite = suite
        self.path = path or WORK / "rootfs" / suite

    @property
    def bin(self) -> str:
        """The folder of PostgreSQL's programs, by its path inside."""
        return f"/usr/lib/postgresql/{_VERSIONS[self.suite]}/bin"

    @property
    def postgres_ids(self) -> tuple[int, int]:
        """The uid and gid of the tree's user `postgres`."""
        for line in (self.path / "etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_ = line.split(":")
            if name == "postgres":
                return int(uid), int(gid)
        raise ToolError(f"{self.path} has no user postgres; run make clean and try again")

    def build(self) -> None:
        """Make the tree if it is missing. An interrupted build leaves nothing that looks like a tree.

        Raises:
            ToolError: mmdebstrap failed, or is not installed.
        """
        if self.path.exists():
            return
        if shutil.which("mmdebstrap") is None:
            raise ToolError("mmdebstrap is not installed; the make targets install it, or: apt install mmdebstrap")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.suite}.partial.{os.getpid()}")
        for left_over in self.path.parent.glob(f"{self.suite}.partial.*"):
            shutil.rmtree(left_over, ignore_errors=True)
        partial.mkdir()
        packages = f"postgresql-{_VERSIONS[self.suite]}"
        is_root = os.geteuid() == 0
        excluded = "" if is_root else "./dev/*"
        command = ["bash", "-c", _UNPACK, "bash", str(partial), excluded, "--variant=apt"]
        if not is_root:
            command.append("--mode=unshare")
        command += [*_FLAGS[self.suite], f"--include={packages},{packages}-timescaledb", self.suite]
        try:
            run_step(
                f"Debian's {packages} and TimescaleDB (suite {self.suite})",
                command,
                log=LOGS / f"mmdebstrap-{self.suite}.log",
            )
            partial.rename(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a program inside as the user `postgres`."""
        if os.geteuid() == 0:
            return ["chroot", "--userspec=postgres:postgres", str(self.path), *command]
        if shutil.which("bwrap") is None:
            raise ToolError("bwrap is not installed; the make targets install it, or: apt install bubblewrap")
        uid, gid = self.postgres_ids
        return [
            *("bwrap", "--unshare-user", "--uid", str(uid), "--gid", str(gid)),
            *("--bind", str(self.path), "/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/"),
            *command,
        ]
