"""Settings of a transaction, changed for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from shared.postgres.connect import Cursor


@contextmanager
def local_settings(cursor: Cursor, settings: Mapping[str, str]) -> Iterator[None]:
    """Change settings of the transaction for the body.

    They are not restored after an error: that ends the transaction or rolls back to a savepoint, which restores them.
    """
    cursor.execute("SELECT n, pg_catalog.current_setting(n) FROM pg_catalog.unnest(%s::text[]) n", (list(settings),))
    before = dict(cursor.fetchall())
    set_local(cursor, settings)
    yield
    set_local(cursor, before)


def set_local(cursor: Cursor, settings: Mapping[str, str]) -> None:
    """Change settings until the transaction ends."""
    cursor.execute(
        "SELECT pg_catalog.set_config(n, v, true)"
        " FROM ROWS FROM (pg_catalog.unnest(%s::text[]), pg_catalog.unnest(%s::text[])) s(n, v)",
        (list(settings), list(settings.values())),
    )
