"""The setting `timescaledb.restoring`: on only for a COPY into a plain table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import InternalError
from shared.postgres.connect import Cursor
from shared.postgres.savepoint import savepoint


@contextmanager
def restoring(cursor: Cursor) -> Iterator[None]:
    """Set `timescaledb.restoring` for a COPY into a plain table, if the role may (42501 otherwise).

    It must be off again before the load writes to a hypertable. From 2.23 on, rows that are copied or inserted into a
    hypertable while it is on go into the root table, where no query finds them. So the setting is checked, not assumed.
    """
    with savepoint(cursor, "timescaledb.restoring") as allowed:
        cursor.execute("SET LOCAL timescaledb.restoring = on")
    yield
    if allowed.error is None:
        cursor.execute("SET LOCAL timescaledb.restoring = off")
    cursor.execute("SELECT pg_catalog.current_setting('timescaledb.restoring') = 'off'")
    if cursor.fetchone() != (True,):
        raise InternalError("timescaledb.restoring is still on after the staging COPY")
