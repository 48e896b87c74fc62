"""How much memory the build of a dropped index may use, if no setting says so."""

from __future__ import annotations

from dataclasses import dataclass

from shared.postgres.connect import Cursor
from shared.process import MIB

# More makes no build faster (docs/performance_indexes.md).
_MOST_BYTES = 256 * MIB
# Of `shared_buffers`, which has a quarter of the server's memory as a rule
# (https://www.postgresql.org/docs/current/runtime-config-resource.html), as on Azure. So a build has a sixteenth of the
# memory, its workers included, and four restores that build at once have a quarter.
_SHARE = 4
# Where `pg_settings.source` says so, somebody has chosen the value for this very role, database or request.
_CHOSEN = frozenset({"database", "user", "database user", "client", "session"})
_QUERY = (
    "SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),"
    " (SELECT source FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'),"
    " pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers'))"
)


@dataclass(frozen=True)
class ServerMemory:
    """The server's settings of memory that a session sees, in bytes.

    Attributes:
        maintenance_work_mem: what one build may use.
        is_chosen: whether that is set for the role, the database or the session, and not for the whole server.
        shared_buffers: what all sessions share.
    """

    maintenance_work_mem: int
    is_chosen: bool
    shared_buffers: int


def server_memory(cursor: Cursor) -> ServerMemory:
    """Ask the server for its settings. Any role may see them."""
    cursor.execute(_QUERY)
    ((memory, source, shared),) = cursor.fetchall()
    return ServerMemory(int(memory), source in _CHOSEN, int(shared))


def build_memory(server: ServerMemory, csv_bytes: int) -> int:
    """Choose the memory for the build of an index: at least the server's own, and not more than helps with this day.

    Args:
        server: its settings.
        csv_bytes: approximate size of the day, unpacked. What is sorted for an index is about as large.

    Returns:
        Bytes, whole MiB if they are not the server's own.
    """
    useful = min(_MOST_BYTES, csv_bytes, server.shared_buffers // _SHARE) // MIB * MIB
    return server.maintenance_work_mem if server.is_chosen else max(server.maintenance_work_mem, useful)
