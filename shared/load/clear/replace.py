"""Removes the day's rows before the archive's are loaded. Other sessions see the old day until the commit.

A chunk that lies wholly inside the day is truncated, which costs nothing per row. TimescaleDB marks the whole chunk as
changed for the continuous aggregates (measured on 2.29.2). On a compressed chunk TRUNCATE empties the compressed part,
but not the rows in the uncompressed part (measured on 2.29.2), so a recount decides whether the day is empty.

TRUNCATE is not MVCC-safe (PostgreSQL's manual, "Caveats" of the concurrency chapter): a transaction whose snapshot is
older than the commit would see no rows. So it is used only if no other transaction of the database is open, neither
when the chunks are locked nor right before the COMMIT, and if nothing sees a DELETE that would miss a TRUNCATE
(`timescale/removal.py`). Otherwise, and for the remaining rows of the day, rows are deleted.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg2 import sql

from shared.errors import VerificationFailed
from shared.model.window import Window
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import refusal_in_savepoint, savepoint
from shared.postgres.search_path import by_users_path
from shared.postgres.sqlstate import as_refused_row, translated
from shared.timescale.chunks import Chunk
from shared.timescale.compression import allow_delete_of_compressed
from shared.timescale.rows_of_days import count_window
from shared.timescale.table import Table, inside


def delete_day(cursor: Cursor, table: Table, window: Window) -> bool:
    """Delete the remaining rows of the day from the target, and prove by a recount that none is left.

    Args:
        cursor: in the load's transaction.
        table: the target. Its compressed chunks over the day were truncated or decompressed before, since before 2.25
            a DELETE on a partly compressed chunk can stop early without an error (timescaledb#9120).
        window: the day.

    Returns:
        Whether there were rows to delete.

    Raises:
        DataRejected: a constraint or a trigger refuses it. The transaction is then unchanged.
        VerificationFailed: rows of the day are still there.
    """
    if not count_window(cursor, table, window).rows:
        return False
    if table.timescaledb is not None and table.timescaledb.is_community:
        allow_delete_of_compressed(cursor)

    def delete() -> None:
        with translated():
            statement = sql.SQL("DELETE FROM {} WHERE {}").format(table.identifier, inside(table, window))
            cursor.execute(by_users_path(statement))

    # In a savepoint: rows that the DELETE decompresses must not look like rows that the load added, and the caller can
    # ask why it is refused.
    refused = refusal_in_savepoint(cursor, "delete", delete, as_refused_row)
    if refused is not None:
        raise refused
    left = count_window(cursor, table, window).rows
    if left:
        raise VerificationFailed(f"{left} rows of the day are still there after their removal")
    return True


def truncate(cursor: Cursor, chunks: Sequence[Chunk]) -> bool:
    """Truncate chunks that are locked for it. The role needs the right TRUNCATE.

    Returns:
        Whether it succeeded. If not, a DELETE may: it needs no lock that keeps readers out.

    Raises:
        RestoreCanceled, StatementCanceled: it was canceled, or took too long.
    """
    names = sql.SQL(", ").join(chunk.identifier for chunk in chunks)
    with savepoint(cursor, "truncate") as step:
        cursor.execute(by_users_path(sql.SQL("TRUNCATE TABLE {}").format(names)))
    return not step.was_rolled_back
