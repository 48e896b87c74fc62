"""Which storage accounts may be read. Pure: it is asked before anything is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.clouds import PUBLIC
from shared.errors import StorageAccountNotAllowed

if TYPE_CHECKING:
    from shared.lake.adls_url import ArchiveLocation
    from shared.settings import Settings


def refuse_other_accounts(location: ArchiveLocation, settings: Settings) -> None:
    """Refuse an archive that is not in a listed account.

    A listed account is named by the host of either of its services. Its name alone means the account of that name in
    the public cloud without a DNS zone, since the same name elsewhere is another account.

    Args:
        location: the file, also where it was named by a bare path.
        settings: hold the list; without one every account may be read.

    Raises:
        StorageAccountNotAllowed: neither the account nor this file system of it is listed.
    """
    allowed = settings.adls_allowed_accounts
    if allowed is None:
        return
    host = location.host
    names = [host.name("dfs"), host.name("blob")]
    if host.cloud == PUBLIC and host.zone is None:
        names.append(host.account)
    if not any(name in allowed or f"{name}/{location.filesystem}" in allowed for name in names):
        raise StorageAccountNotAllowed(
            f"the file system {location.filesystem} of {names[0]} is not one that this function may read"
        )
