"""Settings of TimescaleDB that a restore needs, whatever the role or the database has set.

Any user may change them. Each name was run on 2.24.0 and 2.28.3; a server that does not have one keeps it as a name of
no meaning.
"""

from __future__ import annotations

from shared.postgres.timeouts import SessionSettings
from shared.settings import Settings

_NEEDED_SETTINGS = {
    # While it is off, no query shows a compressed row: the day looks empty, and is loaded once more (run on 2.28.3).
    # Its name was enable_transparent_decompression (2.24.0).
    "timescaledb.enable_columnarscan": "on",
    "timescaledb.enable_transparent_decompression": "on",
    # The same for chunks in object storage (Tiger Cloud; read: src/guc.c).
    "timescaledb.enable_tiered_reads": "on",
    # A key is compared with compressed rows, and a DELETE reaches them.
    "timescaledb.enable_dml_decompression": "on",
    # A foreign key that refers to the hypertable is given to the chunks that the load makes (read: src/guc.c).
    "timescaledb.enable_foreign_key_propagation": "on",
    # A refresh finds what was loaded (run on 2.28.3: while it is on, the buckets stay as they were).
    "timescaledb.skip_cagg_invalidation": "off",
    # While it is off, COPY logs no changes for aggregates either (run on 2.28.3; timescaledb#10439).
    "timescaledb.enable_optimizations": "on",
    # Rows that are compressed on the way (2.21 and newer) have no `xmin`, so the load cannot find its own; before
    # 2.28.1 no constraint is checked; and the chunk is left unordered.
    "timescaledb.enable_direct_compress_copy": "off",
    "timescaledb.enable_direct_compress_insert": "off",
}


def session_settings_of(settings: Settings) -> SessionSettings:
    """Return what every transaction of a restore begins with, and its steps after the COMMIT."""
    return SessionSettings(
        settings.pg_lock_timeout_seconds, settings.pg_statement_timeout_seconds, others=_NEEDED_SETTINGS
    )
