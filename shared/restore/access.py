"""Decides which storage account, table, server and role a restore may use, before the first connection."""

from __future__ import annotations

from shared.errors import StorageAccountNotAllowed, TargetNotAllowed
from shared.identity import PUBLIC
from shared.model.location import ArchiveLocation
from shared.model.request import RestoreRequest
from shared.postgres.endpoint import Endpoint, allowed_endpoint
from shared.settings import Settings


def refuse_other_accounts(location: ArchiveLocation, settings: Settings) -> None:
    """Refuse an archive that is not in a listed account.

    A listed account is named by the host of either of its services. Its name alone means the account of that name in
    the public cloud without a DNS zone, since the same name elsewhere is another account.

    Args:
        location: the file, even if it was named by a bare path.
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


# PostgreSQL keeps names with pg_ for itself, TimescaleDB its catalogue, its chunks and their compressed parts.
INTERNAL_SCHEMAS = ("pg_", "information_schema", "_timescaledb_", "timescaledb_")


def authorize(request: RestoreRequest, settings: Settings) -> Endpoint:
    """Check a request against every allow list.

    Args:
        request: what is asked for.
        settings: what is allowed.

    Returns:
        The server to connect to, and how to log in.

    Raises:
        StorageAccountNotAllowed: the archive is elsewhere.
        TargetNotAllowed: the table, or the one that staging is modeled on, is not listed, or is the server's own.
        RestoreError: as `allowed_endpoint`.
    """
    refuse_other_accounts(request.archive, settings)
    for table, target in (
        (request.target_table, "destination.target_table"),
        (request.staging_like, "destination.create_staging_like"),
    ):
        if (table.schema or "").startswith(INTERNAL_SCHEMAS):
            # No restore writes rows into a compressed chunk's own table, or into a catalogue.
            raise TargetNotAllowed(
                f"the schema {table.schema} is the server's own",
                target=target,
                hint="name the hypertable, not a chunk or a compressed part of it; for an aggregate name the table that"
                " it is made of, and the aggregate in timescaledb.refresh_caggs",
            )
        if not settings.allows(table):
            raise TargetNotAllowed(f"the table {table} is not one that this function may write to", target=target)
    return allowed_endpoint(request.pg.parameters, request.pg.auth, settings, database=request.archive.database)
