"""Retention policies (community edition) that will drop what a restore has just brought back.

`policy_retention` calls `drop_chunks`, which drops each chunk that ends at or before now - drop_after, or that was made
before now - drop_created_before. Only the job's next run is considered, and only if the job is not paused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2 import sql

from shared.model.results import Notice
from shared.model.window import Window, iso
from shared.postgres.connect import Cursor
from shared.timescale.chunks import Chunk, range_columns
from shared.timescale.table import Table

# `proc_schema` was _timescaledb_internal before 2.12. A job is due if its next start is unknown or past.
_DUE = sql.SQL(
    "WITH chunk AS (SELECT {end} AS upper, chunk_creation_time AS created FROM timescaledb_information.chunks"
    "  WHERE hypertable_schema = %(schema)s AND hypertable_name = %(name)s AND (chunk_schema, chunk_name) IN"
    "  (SELECT * FROM ROWS FROM (pg_catalog.unnest(%(chunk_schemas)s::name[]),"
    "   pg_catalog.unnest(%(chunk_names)s::name[])))),"
    " job AS (SELECT job_id, config, greatest(pg_catalog.clock_timestamp(), next_start) AS run_at"
    "  FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled"
    "  AND proc_schema IN ('_timescaledb_functions', '_timescaledb_internal')"
    "  AND config ->> 'hypertable_id' = %(id)s::text AND next_start IS DISTINCT FROM 'infinity')"
    " SELECT job_id, rule, amount, run_at,"
    "  pg_catalog.format('SELECT %%I.alter_job(%%s, scheduled => false)', %(extension)s::text, job_id)"
    " FROM job CROSS JOIN LATERAL (SELECT 'drop_after', config ->> 'drop_after',"
    "   coalesce((SELECT min(upper) FROM chunk), {end_of_new}) <= {present} - (config ->> 'drop_after')::{amount}"
    "  UNION ALL SELECT 'drop_created_before', config ->> 'drop_created_before',"
    "   (SELECT min(created) FROM chunk) <= run_at - (config ->> 'drop_created_before')::interval"
    " ) rules(rule, amount, is_met) WHERE is_met ORDER BY job_id"
)
# Chunks begin at multiples of their length, from 1970 on (read: calculate_open_range_default in src/dimension.c of
# 2.24 and 2.29). The length of a time is in microseconds.
_NEW = sql.SQL(
    "(SELECT (pg_catalog.floor({lower} / d.interval_length) + 1) * d.interval_length"
    " FROM _timescaledb_catalog.dimension d WHERE d.hypertable_id = %(id)s ORDER BY d.id LIMIT 1)"
)
_MICROSECONDS = sql.SQL("(extract(epoch FROM {}::timestamptz) * 1000000)")
_AS_TIME = sql.SQL("pg_catalog.to_timestamp(({} / 1000000)::float8)")


@dataclass(frozen=True)
class Retention:
    """A retention policy that will drop a day at its next run.

    Attributes:
        table: what it is a policy of, with its schema.
        job: id of its job.
        rule: `drop_after` or `drop_created_before`.
        amount: of time, as the policy has it; of an integer time, in its units.
        next_run: when it runs next; now, if it is due.
        pause: the SQL that pauses the job.
    """

    table: str
    job: int
    rule: str
    amount: str
    next_run: datetime
    pause: str

    @property
    def notice(self) -> Notice:
        """The warning."""
        return Notice(
            "RetentionWillDrop",
            f"{self.table}: its retention policy ({self.rule} {self.amount}, job {self.job}) will drop the day at its"
            f" next run, {iso(self.next_run.replace(microsecond=0))}; to keep it, pause the job: {self.pause}",
        )


def find_retention(cursor: Cursor, table: Table, window: Window, chunks: Sequence[Chunk]) -> tuple[Retention, ...]:
    """Find the policies of a hypertable that will drop a day at their next run. For the dry run as well: it only reads.

    Args:
        cursor: in any transaction.
        table: the table.
        window: the day.
        chunks: those over the day. If there are none, the chunk that would be made for its beginning counts.
    """
    extension = table.compression
    if extension is None:
        return ()
    lower = sql.Literal(window.chunk_bounds[0])
    parts: dict[str, sql.Composable] = {"end": range_columns(window)["end"]}
    if window.kind == "integer":
        # What the time will be at the next run is not known in these units.
        parts |= {"present": sql.Literal(table.integer_now), "amount": sql.SQL("numeric")}
        parts |= {"end_of_new": _NEW.format(lower=lower)}
    else:
        parts |= {"present": sql.SQL("run_at"), "amount": sql.SQL("interval")}
        parts |= {"end_of_new": _AS_TIME.format(_NEW.format(lower=_MICROSECONDS.format(lower)))}
    if table.has_partitioning_function:
        parts |= {"end_of_new": sql.SQL("NULL")}
    cursor.execute(
        _DUE.format(**parts),
        {
            "schema": table.schema,
            "name": table.name,
            "id": table.hypertable_id,
            "extension": extension.schema,
            "chunk_schemas": [chunk.schema for chunk in chunks],
            "chunk_names": [chunk.name for chunk in chunks],
        },
    )
    return tuple(Retention(str(table), *policy) for policy in cursor.fetchall())
