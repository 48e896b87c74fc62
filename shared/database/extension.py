"""TimescaleDB as a database has it: version, edition, and whether it may be written to."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg2 import sql

from shared.database.connection import Cursor
from shared.errors import DatabaseInRestoreMode


@dataclass(frozen=True)
class TimescaleDB:
    """The extension as this database has it.

    Attributes:
        version: `pg_extension.extversion`.
        schema: where its functions are; it need not be on the search_path.
        edition: "apache" or "community", from `timescaledb.license` (apache | timescale). Azure Database for
            PostgreSQL ships the Apache edition only, where compression and continuous aggregates raise 0A000.
    """

    version: str
    schema: str
    edition: str

    @property
    def is_community(self) -> bool:
        """Whether compression and continuous aggregates exist."""
        return self.edition == "community"

    def at_least(self, major: int, minor: int) -> bool:
        """Compare the version, `2.19.3` or `2.30.0-dev`."""
        found = [int("".join(filter(str.isdigit, part))) for part in self.version.split(".")[:2]]
        return found >= [major, minor]

    def function(self, name: str) -> sql.Composed:
        """Name one of the extension's functions with its schema."""
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(name))


def find_timescaledb(cursor: Cursor) -> TimescaleDB | None:
    """Ask for the extension.

    Raises:
        DatabaseInRestoreMode: `timescaledb.restoring` is on, as `timescaledb_pre_restore()` sets it for the
            whole database. From 2.23 on a COPY into a hypertable would then put its rows where no query
            finds them.
    """
    cursor.execute(
        "SELECT e.extversion, n.nspname, current_setting('timescaledb.license', true),"
        " coalesce(current_setting('timescaledb.restoring', true), 'off')"
        " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'timescaledb'"
    )
    row = cursor.fetchone()
    if row is None:
        return None
    version, schema, license_, restoring = row
    if restoring != "off":
        raise DatabaseInRestoreMode("timescaledb.restoring is on in this database")
    return TimescaleDB(version, schema, "community" if license_ == "timescale" else "apache")
