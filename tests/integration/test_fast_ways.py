"""The fast ways of a restore beside the plain one: the same rows, the same table, the same refusals."""

from __future__ import annotations

import itertools
import json
import random
import re
from typing import Any

import pytest

from tests.integration.fix_database import Database
from tests.integration.fix_site import Answer, Site

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


def make(site: Site, name: str = "t", *, interval: str = "interval '1 day'") -> None:
    site.database.hypertable(name, COLUMNS, interval=interval)
    site.database.execute(f"CREATE INDEX ON {{s}}.{name} (note) WITH (fillfactor = 70)")


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


def error_of(answer: Answer) -> str:
    """The error, without the number of the chunk."""
    return re.sub(r"\d+_", "", json.dumps(answer.body["error"]))


def set_aside(site: Site, answer: Answer) -> int:
    """How many indexes were set aside, beside how many this version allows: the key from 2.28, the others from 2.22."""
    assert answer.status == 200, answer.body
    version = site.database.version
    allowed = 0 if version < (2, 22) else 2 if version < (2, 28) else 3
    found = len(answer.body["copy"]["indexes_set_aside"])
    assert found in (0, allowed), answer.body["copy"]
    if not allowed:
        assert kept(answer) == ["TimescaleDBVersion"]
    return found if allowed else 3


def kept(answer: Answer) -> list[str]:
    return [one["code"] for one in answer.body["copy"]["indexes_kept"]]


def of_version(site: Site, *codes: str) -> list[str]:
    """The codes, where this version lets any index be set aside."""
    return list(codes) if site.database.version >= (2, 22) else ["TimescaleDBVersion"]


@MODES
@FORMATS
@TRANSFERS
def test_a_fresh_day_is_the_same_as_one_that_was_loaded_plainly(
    site: Site, mode: str, format_: str, transfer: str
) -> None:
    make(site)
    make(site, "plain")
    destination = {"mode": mode}
    copy = {"format": format_, "transfer": transfer}
    plain = site.restore(site.archive("plain", csv(ROWS)), destination=destination, copy=PLAIN)
    assert kept(plain) == ["Requested"]
    assert plain.body["copy"]["text_because"] == "the request asks for it"
    answer = site.restore(site.archive("t", csv(ROWS)), destination=destination, copy=copy)
    assert set_aside(site, answer) > 0
    assert (answer.body["copy"]["format"], answer.body["copy"]["transfer"]) == (format_, transfer)
    assert answer.body["rows_loaded"] == answer.body["verification"]["rows_loaded"] == len(ROWS)
    assert difference(site.database, "t", "plain") == (0, 0)
    as_plain = [(text.replace("plain", "t"), *rest) for text, *rest in indexes(site.database, "plain")]
    assert sorted(as_plain) == indexes(site.database)
    assert len(as_plain) == 3
    seconds = answer.body["timings"]
    assert sum(seconds.values()) - seconds["total"] == pytest.approx(seconds["total"], abs=0.05)


@MODES
def test_a_day_that_is_replaced(site: Site, mode: str) -> None:
    make(site)
    url = site.archive("t", csv(ROWS))
    assert site.restore(url, copy=PLAIN).status == 200
    before = indexes(site.database)
    answer = site.restore(url, destination={"mode": mode, "on_existing": "replace"})
    assert answer.body["removed_by"] == "truncate"
    assert set_aside(site, answer) > 0
    assert site.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)
    assert indexes(site.database) == before


@MODES
@pytest.mark.parametrize("policy", ["append", "replace"])
def test_a_chunk_that_others_use_keeps_its_indexes(site: Site, mode: str, policy: str) -> None:
    make(site, interval="interval '7 days'")
    site.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 23:59:59Z', 99, 1, 'was here')")
    answer = site.restore(site.archive("t", csv(ROWS)), destination={"mode": mode, "on_existing": policy})
    assert answer.status == 200, answer.body
    assert answer.body["copy"]["indexes_set_aside"] == []
    assert kept(answer) == ["NotOwnChunk"]


def test_a_chunk_of_a_week(site: Site) -> None:
    make(site, interval="interval '7 days'")
    assert set_aside(site, site.restore(site.archive("t", csv(ROWS)))) > 0
    assert len(indexes(site.database)) == 3


def test_chunks_of_an_hour(site: Site) -> None:
    """Only the first one is there in time; the others are right as well."""
    make(site, interval="interval '1 hour'")
    make(site, "plain", interval="interval '1 hour'")
    assert site.restore(site.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    answer = site.restore(site.archive("t", csv(ROWS)))
    assert set_aside(site, answer) > 0
    if site.database.version >= (2, 28):
        assert kept(answer) == ["LaterChunk"]
    assert difference(site.database, "t", "plain") == (0, 0)
    as_plain = [(text.replace("plain", "t"), *rest) for text, *rest in indexes(site.database, "plain")]
    assert sorted(as_plain) == indexes(site.database)


BAD = {
    "a duplicate": ROWS[3],
    "a time": "oops,1,1,x",
    "a column too many": "2025-01-01,100,1,x,y",
    "a NULL in the key": "2025-01-01,,1,x",
}


@FORMATS
@TRANSFERS
@pytest.mark.parametrize("bad", BAD)
def test_a_row_that_is_refused_is_named_as_it_is_plainly(site: Site, bad: str, format_: str, transfer: str) -> None:
    rows = [*ROWS[:300], BAD[bad], *ROWS[300:]]
    make(site)
    url = site.archive("t", csv(rows))
    plain = site.restore(url, copy=PLAIN)
    assert plain.code == "DataRejected"
    assert plain.body["error"]["details"][0]["line"] > 300
    fast = site.restore(url, copy={"format": format_, "transfer": transfer})
    assert error_of(fast) == error_of(plain)
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0
    assert indexes(site.database) == []


@FORMATS
def test_a_first_row_that_is_refused(site: Site, format_: str) -> None:
    make(site)
    url = site.archive("t", csv(["oops,1,1,x", *ROWS]))
    plain = site.restore(url, copy=PLAIN)
    assert error_of(site.restore(url, copy={"format": format_})) == error_of(plain)
    assert plain.body["error"]["details"][0]["line"] == 2


@FORMATS
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE {s}.t DROP CONSTRAINT t_pkey; DROP INDEX {s}.t_note_idx; ALTER TABLE {s}.t ADD CHECK (v <> 300.5)",
        "ALTER TABLE {s}.t ADD UNIQUE (time, device_id) DEFERRABLE; ALTER TABLE {s}.t ADD CHECK (v <> 300.5)",
    ],
    ids=["no index", "an index that stays"],
)
def test_the_line_where_the_first_row_came_by_itself(site: Site, format_: str, change: str) -> None:
    make(site)
    site.database.execute(change)
    url = site.archive("t", csv(ROWS))
    plain = site.restore(url, copy=PLAIN)
    assert plain.body["error"]["details"][0]["line"] > 300
    assert error_of(site.restore(url, copy={"format": format_})) == error_of(plain)


def test_no_room_to_build_an_index(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain way needs none."""
    make(site)
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "1")
    name = site.database.name
    site.database.execute(f"ALTER DATABASE {name} SET temp_file_limit = '64kB'")
    try:
        rows = [f"2025-01-01 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}+00,{n},1,{n}" for n in range(80_000)]
        answer = site.restore(site.archive("t", csv(rows)))
    finally:
        site.database.execute(f"ALTER DATABASE {name} RESET temp_file_limit")
    assert (answer.status, answer.body["rows_loaded"]) == (200, 80_000)
    assert kept(answer) == of_version(site, "BuildFailed")


def test_staging_skips_conflicts_of_the_file_with_itself(site: Site) -> None:
    """The index cannot be built over them, so the load is begun anew with all indexes in place."""
    make(site)
    answer = site.restore(site.archive("t", csv([*ROWS, *ROWS[:5]])), destination={"mode": "staging"})
    assert (answer.status, answer.body["rows_inserted"], answer.body["rows_skipped"]) == (200, len(ROWS), 5)
    codes = kept(answer)
    # Where the key stays, the second row is refused at once.
    assert codes in (["BuildFailed"], ["RowRefused"], ["TimescaleDBVersion"])


@FORMATS
@pytest.mark.parametrize(
    ("rows", "header", "options"),
    [
        ([], HEADER, {}),
        (ROWS[:1], HEADER, {}),
        (ROWS[:2], HEADER, {}),
        (ROWS, None, {"csv_options": {"HEADER": False}, "columns": ["time", "device_id", "v", "note"]}),
        (ROWS, '"ti\nme",device_id,v,note', {"column_map": {"ti{end}me": "time"}}),
        (ROWS, HEADER, {"csv_options": {"ENCODING": "LATIN1"}}),
        ([row.replace("next", "é") for row in ROWS], HEADER, {}),
    ],
    ids=["empty", "one row", "two rows", "no header", "a header of two lines", "another encoding", "not ASCII"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_files_of_every_form(
    site: Site, format_: str, rows: list[str], header: str | None, options: dict[str, Any], end: str
) -> None:
    make(site)
    make(site, "plain")
    data = csv(rows, header).replace(b"\n", end.encode())
    if "column_map" in options:
        options = {"column_map": {name.format(end=end): to for name, to in options["column_map"].items()}}
    for mark in (b"", b"\xef\xbb\xbf") if "csv_options" not in options else (b"",):
        site.database.execute("TRUNCATE {s}.plain; TRUNCATE {s}.t")
        site.database.execute("SELECT public.drop_chunks('{s}.t', older_than => timestamptz '2100-01-01')")
        plain = site.restore(site.archive("plain", mark + data), copy=PLAIN | options)
        fast = site.restore(site.archive("t", mark + data), copy={"format": format_} | options)
        assert (plain.status, fast.status) == (200, 200), (plain.body, fast.body)
        assert fast.body["rows_loaded"] == plain.body["rows_loaded"] == len(rows)
        assert difference(site.database, "t", "plain") == (0, 0)


def test_what_the_binary_way_leaves_to_the_text_way(site: Site) -> None:
    make(site)
    answer = site.restore(site.archive("t", csv([*ROWS, "2025-01-01 23:59Z,8,infinity,x"])), copy={"format": "binary"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(ROWS) + 1)
    assert answer.body["copy"]["format"] in ("text", "binary")
    odd = site.restore(
        site.archive("t", csv(["2025-01-02 23:59Z, 8,1,x"]), day="2025-01-02"), copy={"format": "binary"}
    )
    assert (odd.status, odd.body["copy"]["format"]) == (200, "text"), odd.body
    assert odd.body["copy"]["text_because"]


@pytest.mark.parametrize(("size", "format_"), [(10, "text"), (40 * 1024 * 1024, "binary")], ids=["small", "large"])
def test_a_large_file_goes_binary_by_itself(site: Site, size: int, format_: str) -> None:
    make(site)
    noise = random.Random(1)  # noqa: S311 - the same every time
    rows = [f"2025-01-01 00:00:00+00,{n},1,{noise.randbytes(1000).hex()}" for n in range(size // 2000 + 1)]
    answer = site.restore(site.archive("t", csv(rows)))
    assert answer.body["copy"]["format"] == format_
    assert (answer.body["copy"]["text_because"] is None) == (format_ == "binary")


def test_a_day_that_is_not_known_in_the_time_column(site: Site) -> None:
    site.database.hypertable("t", "time bigint NOT NULL, v int", interval="10")
    answer = site.restore(
        site.archive("t", csv(["3,1", "4,2", "5,3"], "time,v")),
        destination={"on_existing": "append", "rows_outside_window": "allow"},
    )
    assert (answer.status, answer.body["rows_loaded"], kept(answer)) == (200, 3, ["NoDay"])


@MODES
def test_a_day_that_begins_with_another_one(site: Site, mode: str) -> None:
    make(site)
    url = site.archive("t", csv(["2024-12-31 23:59Z,1,1,x", "2024-12-31 23:58Z,1,1,x"]))
    answer = site.restore(url, destination={"mode": mode, "on_existing": "append", "rows_outside_window": "allow"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)
    assert kept(answer) == of_version(site, "NoChunk")


def test_an_index_that_would_not_be_the_same(site: Site) -> None:
    """The chunk is not what it was before the rows came, here by what a check does. The plain way does not mind."""
    make(site)
    site.database.execute(
        "CREATE FUNCTION {s}.f(v float8) RETURNS bool LANGUAGE plpgsql AS $$ DECLARE chunk regclass; BEGIN"
        " IF v = 400.5 THEN SELECT c INTO chunk FROM public.show_chunks('{s}.t') c;"
        " EXECUTE 'GRANT SELECT ON ' || chunk || ' TO public'; END IF; RETURN true; END $$"
    )
    site.database.execute("ALTER TABLE {s}.t ADD CHECK ({s}.f(v))")
    answer = site.restore(site.archive("t", csv(ROWS)))
    assert (answer.status, answer.body["rows_loaded"]) == (200, len(ROWS)), answer.body
    assert kept(answer) == of_version(site, "NotRepeatable")
    assert len(indexes(site.database)) == 3


def test_a_build_that_takes_too_long_is_not_tried_in_another_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever set the limit would wait for it twice."""
    if site.database.version < (2, 22):
        pytest.skip("no index is built")
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "7")
    monkeypatch.setenv("PG_STATEMENT_TIMEOUT_SECONDS", "2")
    make(site)
    site.database.execute(
        "CREATE FUNCTION {s}.wait(v float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog"
        " AS $$ BEGIN IF current_setting('maintenance_work_mem') = '7MB' THEN PERFORM pg_sleep(600); END IF;"
        " RETURN v; END $$"
    )
    site.database.execute("CREATE INDEX ON {s}.t ({s}.wait(v))")
    assert site.restore(site.archive("t", csv(ROWS))).code == "StatementCanceled"
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_role_that_does_not_own_the_table(site: Site) -> None:
    make(site)
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    answer = site.restore(site.archive("t", csv(ROWS)), pg=role)
    assert (answer.status, answer.body["copy"]["indexes_set_aside"]) == (200, [])
    assert kept(answer) == of_version(site, "MissingOwnership")


def test_the_memory_and_the_workers_of_the_settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if site.database.version < (2, 22):
        pytest.skip("no index is built")
    monkeypatch.setenv("PG_INDEX_MEMORY_MIB", "7")
    monkeypatch.setenv("PG_INDEX_WORKERS", "0")
    make(site)
    schema = site.database.schema
    # A function in an index sees them, and a sequence keeps what it saw.
    site.database.execute("CREATE SEQUENCE {s}.memory; CREATE SEQUENCE {s}.workers MINVALUE 0")
    site.database.execute(
        "CREATE FUNCTION {s}.look(v float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog"
        f" AS $$ BEGIN PERFORM setval('{schema}.memory', pg_size_bytes(current_setting('maintenance_work_mem'))),"
        f" setval('{schema}.workers', current_setting('max_parallel_maintenance_workers')::int);"
        " RETURN v; END $$"
    )
    site.database.execute("CREATE INDEX ON {s}.t ({s}.look(v))")
    assert site.restore(site.archive("t", csv(ROWS))).status == 200
    assert site.database.value("SELECT last_value FROM {s}.memory") == 7 * 1024 * 1024
    assert site.database.value("SELECT last_value FROM {s}.workers") == 0


# --- community edition ---------------------------------------------------------------------------------------------


def compressed(site: Site, *, interval: str = "interval '1 day'") -> None:
    make(site, interval=interval)
    site.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id')")


@pytest.mark.community
@MODES
@FORMATS
def test_a_fresh_day_that_ends_compressed(community: Site, mode: str, format_: str) -> None:
    compressed(community)
    url = community.archive("t", csv(ROWS))
    answer = community.restore(
        url, destination={"mode": mode}, copy={"format": format_}, timescaledb={"compress_new_chunks": True}
    )
    assert set_aside(community, answer) == 3
    assert answer.body["status"] == "ok"
    assert answer.body["timescaledb"]["compress_new_chunks"] == "done"
    assert [step["action"] for step in answer.body["chunks"]] == ["create", "compress"]
    query = "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_schema = %s"
    assert community.database.fetch(query, community.database.schema) == [(True,)]
    assert community.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)
    assert len(indexes(community.database)) == 3


@pytest.mark.community
def test_a_duplicate_in_a_day_that_is_to_end_compressed(community: Site) -> None:
    compressed(community)
    url = community.archive("t", csv([*ROWS, ROWS[0]]))
    plain = community.restore(url, copy=PLAIN)
    answer = community.restore(url, timescaledb={"compress_new_chunks": True})
    assert plain.code == "DataRejected"
    assert error_of(answer) == error_of(plain)
    assert community.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.community
@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("SELECT", f"2025-01-01 23:59Z,9,1,{random.Random(2).randbytes(9000).hex()}"),  # noqa: S311
        ("CREATE INDEX ON {s}.t ((1 / (v - 4000.5)))", "2025-01-01 23:59Z,9,4000.5,x"),
    ],
    ids=["too long for the index", "an expression that fails"],
)
def test_what_an_index_refuses_is_not_compressed(community: Site, change: str, row: str) -> None:
    compressed(community)
    community.database.execute(change)
    url = community.archive("t", csv([*ROWS, row]))
    plain = community.restore(url, copy=PLAIN)
    assert plain.code == "DataRejected"
    assert error_of(community.restore(url, timescaledb={"compress_new_chunks": True})) == error_of(plain)
    good = community.restore(community.archive("t", csv(ROWS)), timescaledb={"compress_new_chunks": True})
    assert good.body["timescaledb"]["compress_new_chunks"] == "done"
    community.database.execute("SELECT public.decompress_chunk(c) FROM public.show_chunks('{s}.t') c")


@pytest.mark.community
@pytest.mark.parametrize("extra", [[], ROWS[:1]], ids=["good", "a duplicate"])
def test_checks_that_wait_for_the_commit(community: Site, extra: list[str]) -> None:
    compressed(community)
    community.database.execute("ALTER TABLE {s}.t DROP CONSTRAINT t_pkey")
    community.database.execute("ALTER TABLE {s}.t ADD UNIQUE (device_id, time) DEFERRABLE INITIALLY DEFERRED")
    url = community.archive("t", csv([*ROWS, *extra]))
    answer = community.restore(url, timescaledb={"compress_new_chunks": True})
    assert (answer.status, answer.code) == ((422, "DataRejected") if extra else (200, None)), answer.body
    assert community.database.value("SELECT count(*) FROM {s}.t") == (0 if extra else len(ROWS))


@pytest.mark.community
def test_a_reference_that_is_checked_at_the_commit(community: Site) -> None:
    compressed(community)
    community.database.execute("CREATE TABLE {s}.device (id int PRIMARY KEY)")
    community.database.execute("INSERT INTO {s}.device SELECT generate_series(0, 9)")
    community.database.execute(
        "ALTER TABLE {s}.t ADD FOREIGN KEY (device_id) REFERENCES {s}.device DEFERRABLE INITIALLY DEFERRED"
    )
    answer = community.restore(community.archive("t", csv(ROWS)), timescaledb={"compress_new_chunks": True})
    assert (answer.status, answer.body["timescaledb"]["compress_new_chunks"]) == (200, "done"), answer.body


@pytest.mark.community
@MODES
@pytest.mark.parametrize(("packed", "unpacks"), [(3, True), (20_000, False)])
def test_auto_decompresses_where_that_is_cheaper(community: Site, mode: str, packed: int, unpacks: bool) -> None:
    compressed(community, interval="interval '7 days'")
    community.database.execute(
        "INSERT INTO {s}.t SELECT '2024-12-28'::timestamptz + i * interval '1 second', 1, i, 'before'"
        " FROM generate_series(1, %s) i",
        packed,
    )
    community.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    large = [row.replace("next", "x" * 100) for row in ROWS]
    answer = community.restore(
        community.archive("t", csv(large)), destination={"mode": mode}, timescaledb={"decompress_window": "auto"}
    )
    assert answer.status == 200, answer.body
    actions = [step["action"] for step in answer.body["chunks"]]
    assert actions == (["decompress", "recompress"] if unpacks else ["recompress"])
    assert answer.body["timescaledb"]["decompress_window"] == ("done" if unpacks else "nothing to do")
    assert answer.body["verification"]["rows_loaded"] == len(ROWS)
    assert community.database.value("SELECT count(*) FROM {s}.t") == len(ROWS) + packed


@pytest.mark.community
def test_rows_that_are_replaced_are_decompressed_first(community: Site) -> None:
    compressed(community, interval="interval '7 days'")
    community.database.execute("INSERT INTO {s}.t SELECT '2025-01-01', n, n, 'x' FROM generate_series(1, 3000) n")
    community.database.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c")
    answer = community.restore(
        community.archive("t", csv(ROWS)),
        destination={"on_existing": "replace"},
        timescaledb={"decompress_window": "auto"},
    )
    assert answer.status == 200, answer.body
    assert "decompress" in [step["action"] for step in answer.body["chunks"]]
    assert community.database.value("SELECT count(*) FROM {s}.t") == len(ROWS)


def test_every_mode_together_leaves_the_same_table(site: Site) -> None:
    make(site, "plain")
    assert site.restore(site.archive("plain", csv(ROWS)), copy=PLAIN).status == 200
    ways = itertools.product(["spool", "stream"], ["text", "binary"], ["keep", "auto"])
    for number, (transfer, format_, indexes_) in enumerate(ways):
        make(site, f"t{number}")
        copy = {"transfer": transfer, "format": format_, "indexes": indexes_}
        assert site.restore(site.archive(f"t{number}", csv(ROWS)), copy=copy).status == 200
        assert difference(site.database, f"t{number}", "plain") == (0, 0), copy
