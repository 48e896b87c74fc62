"""Whether a server is still the one it was. After a crash a transaction's id may be another transaction's.

An id that never reached the disk is given again (measured on 17 and 18: `pg_xact_status` then says committed).
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg2.extensions


@dataclass(frozen=True)
class ServerRun:
    """What tells a server from the same one after a crash.

    Attributes:
        start: when its postmaster was started, as text.
        processes: pids of its own processes (checkpointer, background writer, ...). After a crash of a single backend
            the same postmaster starts all of them anew. Every role may see their pids.
    """

    start: str
    processes: frozenset[int]

    def is_same(self, later: ServerRun) -> bool:
        """Whether the server has not crashed in between; some of its processes may have come and gone."""
        return self.start == later.start and bool(self.processes & later.processes)


def server_run(cursor: psycopg2.extensions.cursor) -> ServerRun:
    """Ask the server which run of it this is."""
    cursor.execute(
        "SELECT pg_catalog.pg_postmaster_start_time()::text,"
        " ARRAY(SELECT pid FROM pg_catalog.pg_stat_activity WHERE usesysid IS NULL)"
    )
    row = cursor.fetchone()
    return ServerRun("", frozenset()) if row is None else ServerRun(row[0], frozenset(row[1]))
