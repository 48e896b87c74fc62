"""What a restore did to the compressed chunks of a table `t`."""

from __future__ import annotations

from typing import Any

from tests.integration.fix_app import App


def chunk_states(app: App) -> list[tuple[bool]]:
    return app.database.fetch(
        "SELECT is_compressed FROM timescaledb_information.chunks"
        " WHERE hypertable_schema = %s AND hypertable_name = 't' ORDER BY range_start",
        app.database.schema,
    )


def partial_chunks(app: App) -> int:
    """Chunks with rows that wait beside the compressed ones (status bit 8)."""
    return int(
        app.database.value(
            "SELECT count(*) FROM _timescaledb_catalog.chunk c JOIN _timescaledb_catalog.hypertable h"
            " ON h.id = c.hypertable_id WHERE h.schema_name = %s AND h.table_name = 't' AND c.status & 8 <> 0",
            app.database.schema,
        )
    )


def actions(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["action"], step["outcome"]) for step in body["chunks"]]
