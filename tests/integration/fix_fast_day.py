"""A day for the fast ways of a restore and for the plain one, and what is compared of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_database import Database

COLUMNS = """
    time timestamptz NOT NULL, device_id int NOT NULL, v float8, note text,
    PRIMARY KEY (device_id, time)
"""
HEADER = "time,device_id,v,note"
ROWS = [f'2025-01-01 {n // 60 % 24:02}:{n % 60:02}:00+00,{n % 7},{n}.5,"line {n}\nnext"' for n in range(500)]
PLAIN = {"transfer": "spool", "format": "text", "indexes": "keep"}
MODES = pytest.mark.parametrize("mode", ["direct", "staging"])
FORMATS = pytest.mark.parametrize("format_", ["text", "binary"])
TRANSFERS = pytest.mark.parametrize("transfer", ["spool", "stream"])


def csv(rows: list[str], header: str | None = HEADER) -> bytes:
    return "\n".join([*([] if header is None else [header]), *rows, ""]).encode()


def make(app: App, name: str = "t", *, interval: str = "interval '1 day'") -> None:
    app.database.hypertable(name, COLUMNS, interval=interval)
    app.database.execute(f"CREATE INDEX ON {{s}}.{name} (note) WITH (fillfactor = 70)")


def indexes(database: Database, table: str = "t") -> list[tuple[Any, ...]]:
    """The indexes of the table's chunks, without what differs from chunk to chunk."""
    return database.fetch(
        "SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '\\d+_', '', 'g'), i.indisvalid,"
        " i.indisprimary, k.contype FROM timescaledb_information.chunks c"
        " JOIN pg_index i ON i.indrelid = format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass"
        " LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid"
        " WHERE c.hypertable_schema = %s AND c.hypertable_name = %s ORDER BY 1",
        database.schema,
        table,
    )


def difference(database: Database, one: str, other: str) -> tuple[Any, ...]:
    query = "SELECT count(*) FROM (TABLE {{s}}.{} EXCEPT ALL TABLE {{s}}.{}) AS difference"
    return database.value(query.format(one, other)), database.value(query.format(other, one))


def check_same(database: Database) -> None:
    """Table `t` has the rows and the indexes of the table `plain`."""
    assert difference(database, "t", "plain") == (0, 0)
    as_plain = [(text.replace("plain", "t"), *rest) for text, *rest in indexes(database, "plain")]
    assert sorted(as_plain) == indexes(database) != []


def error_of(answer: Answer) -> str:
    """The error, without the number of the chunk."""
    return re.sub(r"\d+_", "", json.dumps(answer.body["error"]))


def check_deferred(app: App, answer: Answer) -> None:
    """All three indexes were deferred, or as many as this version allows: the key from 2.28, the others from 2.22."""
    assert answer.status == 200, answer.body
    version = app.database.version
    allowed = 0 if version < (2, 22) else 2 if version < (2, 28) else 3
    assert len(answer.body["copy"]["indexes_deferred"]) == allowed, answer.body["copy"]
    if not allowed:
        assert kept(answer) == ["TimescaleDBVersion"]


def kept(answer: Answer) -> list[str]:
    return [one["code"] for one in answer.body["copy"]["indexes_kept"]]


def of_version(app: App, *codes: str) -> list[str]:
    """The codes, where this version lets any index be deferred."""
    return list(codes) if app.database.version >= (2, 22) else ["TimescaleDBVersion"]
