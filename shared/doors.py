"""Where one restore may go. Decided before the first connection is made, to storage or to a server."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.database.endpoint import Endpoint, find_endpoint
from shared.errors import TargetNotAllowed
from shared.lake.allowed_accounts import refuse_other_accounts
from shared.names import QualifiedName
from shared.request import RestoreRequest
from shared.settings import Settings

# PostgreSQL keeps names with pg_ for itself, TimescaleDB its catalogue, its chunks and their compressed parts.
_INTERNAL = ("pg_", "information_schema", "_timescaledb_", "timescaledb_")


def open_doors(request: RestoreRequest, settings: Settings) -> Endpoint:
    """Hold a request against every allow list.

    Args:
        request: what is asked for.
        settings: what is allowed.

    Returns:
        The server that it goes to, and how.

    Raises:
        StorageAccountNotAllowed: the archive is elsewhere.
        TargetNotAllowed: the table, or the one that staging is made like, is not listed, or is the server's own.
        RestoreError: as `find_endpoint`.
    """
    refuse_other_accounts(request.archive, settings)
    for table, target in (
        (request.target_table, "destination.target_table"),
        (request.staging_like, "destination.create_staging_like"),
    ):
        if (table.schema or "").startswith(_INTERNAL):
            # Rows in a compressed chunk's own table, or in a catalogue, are rows that nobody put there.
            raise TargetNotAllowed(f"the schema {table.schema} is the server's own", target=target)
    if settings.allowed_targets is not None:
        _refuse_table(request.target_table, settings.allowed_targets, "destination.target_table")
        _refuse_table(request.staging_like, settings.allowed_targets, "destination.create_staging_like")
    return find_endpoint(request.pg, settings, database=request.archive.database)


def _refuse_table(table: QualifiedName, patterns: Sequence[str], target: str) -> None:
    if not any(_matches(table, pattern) for pattern in patterns):
        raise TargetNotAllowed(f"the table {table} is not one that this function may write to", target=target)


def _matches(table: QualifiedName, pattern: str) -> bool:
    # As in the file's name: the first dot divides, so that `silver.*` is every table of one schema and of no other.
    schema, _, name = pattern.partition(".")
    return _like(schema, table.schema or "") and _like(name, table.name)


def _like(pattern: str, text: str) -> bool:
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(char, re.escape(char)) for char in pattern), text, re.DOTALL) is not None
