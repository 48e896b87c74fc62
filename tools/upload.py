"""`make upload FILE=path [ARCHIVE=database/schema.table.day.csv.gz]`: put an archive of one's own into Azurite.

Without ARCHIVE the archive is named as the file and its folder are. The database and the table must be there already.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from shared.errors import RestoreError
from shared.model.location import ArchiveLocation, parse_adls_url
from tools import sample_target, services
from tools.config import Config, ToolError, load_config, run_tool
from tools.host_process import HostProcess
from tools.serve import curl_command, request_body, restorectl_command

_FORM = "<database>/<schema>.<table>.<YYYY-MM-DD>.csv.gz"


def named(environ: Mapping[str, str] = os.environ) -> tuple[Path, str]:
    """Return the file of FILE and the archive's path of ARCHIVE, both checked.

    Raises:
        ToolError: one of them is missing, or the path does not say which day of which table it is.
    """
    if not environ.get("FILE"):
        raise ToolError(f"which file? make upload FILE=path [ARCHIVE={_FORM}]")
    file = Path(environ["FILE"])
    if not file.is_file():
        raise ToolError(f"there is no file {file}")
    path = environ.get("ARCHIVE") or "/".join(file.resolve().parts[-2:])
    try:
        location(path)
    except RestoreError as exc:
        raise ToolError(f"{path} does not name an archive: {exc}; give another name by ARCHIVE={_FORM}") from exc
    return file, path


def location(path: str, storage: str = "") -> ArchiveLocation:
    """Return what the function makes of an archive's path, in the account of a connection string.

    Raises:
        RestoreError: the path is not one of an archive.
    """
    return parse_adls_url(sample_target.adls_url(storage, path))


def main() -> None:
    """Start the servers, upload the file and print the curl line that restores it.

    Raises:
        ToolError: FILE or ARCHIVE is wrong, or a server does not start.
    """
    file, path = named()
    config = load_config()
    print("-- TimescaleDB and Azurite", flush=True)
    found = services.up(config)
    size = sample_target.upload(found.storage, file, path)
    print(f"-- {file} is {sample_target.FILESYSTEM}/{path} now: {size:,} bytes")
    wanted = location(path, found.storage)
    print(f"-- restore it into {wanted.schema}.{wanted.table} of the database {wanted.database}{_how(config)}:")
    print(shlex.join(curl_command(config, request_body(found, wanted.url))))
    print(f"-- or, with RESTORE_URL as make serve prints it:\n{restorectl_command(path)}")


def _how(config: Config) -> str:
    is_served = HostProcess(config.host_port).answers()
    return "" if is_served else "; first run make serve in another terminal, then paste"


if __name__ == "__main__":
    run_tool(main)
