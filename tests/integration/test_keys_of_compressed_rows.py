"""Rows that come beside compressed ones, under keys that TimescaleDB enforces there, or does not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg2
import pytest

from tests.integration.fix_app import Answer, App
from tests.integration.fix_compressed import actions, chunk_states

pytestmark = pytest.mark.community

COLUMNS = "time timestamptz NOT NULL, s text, k text, x int NOT NULL DEFAULT 0, v int"
APPEND = {"on_existing": "append"}
STAGING = {"mode": "staging"}
COMPRESS = "SELECT public.compress_chunk(c) FROM public.show_chunks('{s}.t') c"
# 2025-01-01 is in the chunk of 2024-12-26 to 2025-01-01, and so are days that no archive touches.
WEEK = "interval '7 days'"


def csv(*rows: str, header: str = "time,s,k,v") -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def make(
    app: App, key: str, *rows: str, columns: str = COLUMNS, segmentby: str = "s, k", orderby: str = "time"
) -> None:
    """Make a hypertable with a key, and compress it with these rows."""
    app.database.hypertable("t", columns, interval=WEEK)
    app.database.execute(
        f"ALTER TABLE {{s}}.t SET (timescaledb.compress, timescaledb.compress_segmentby = '{segmentby}',"
        f" timescaledb.compress_orderby = '{orderby}')"
    )
    if key:
        app.database.execute(f"CREATE UNIQUE INDEX u ON {{s}}.t {key}")
    app.database.execute("INSERT INTO {s}.t (time, s, k, v) VALUES " + ", ".join(rows))
    app.database.execute(COMPRESS)


def case_insensitive(app: App) -> str:
    """Make a collation to which `x` and `X` are the same, and name it."""
    with suppress(psycopg2.errors.FeatureNotSupported):
        app.database.execute(
            "CREATE COLLATION {s}.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
        return f"{app.database.schema}.ci"
    pytest.skip("this server has no ICU")


def restore(app: App, data: bytes, destination: dict[str, Any], decompress: object, **request: Any) -> Answer:
    url = app.archive("t", data)
    return app.restore(url, destination=destination, timescaledb={"decompress_window": decompress}, **request)


def rows(app: App) -> int:
    return int(app.database.value("SELECT count(*) FROM {s}.t"))


def check_unenforced(app: App, data: bytes, *, before: int, twice: bool) -> None:
    """Add rows of which the last is doubled by TimescaleDB, or taken for a conflict.

    Args:
        app: with the table `t`, whose chunk is compressed.
        data: the archive.
        before: rows of the table.
        twice: whether the last row has the key of one of the table's.
    """
    added = data.count(b"\n") - 1 - twice
    for destination in (APPEND, STAGING):
        answer = restore(app, data, destination, decompress=False)
        assert answer.status == 409 or (answer.status, twice) == (422, False), answer.body
        assert answer.code in ("KeyNotEnforced", "DataRejected")
        assert rows(app) == before
    assert chunk_states(app) == [(True,)]
    direct = restore(app, data, APPEND, decompress="auto")
    if twice:
        assert (direct.status, direct.code) == (422, "DataRejected")
        assert direct.body["error"]["details"][0]["line"] == data.count(b"\n")
        assert rows(app) == before
        staged = restore(app, data, STAGING, decompress="auto")
        assert (staged.status, staged.body["rows_skipped"]) == (200, 1)
        assert ("decompress", "done") in actions(staged.body)
    else:
        assert direct.status == 200, direct.body
        assert ("decompress", "done") in actions(direct.body)
    assert rows(app) == before + added


def test_a_null_in_a_segmentby_column_that_equals_others(community_app: App) -> None:
    make(community_app, "(k, time) NULLS NOT DISTINCT", "('2025-01-01 05:00Z', 'a', NULL, 7)")
    data = csv("2025-01-01 06:00Z,a,y,1", "2025-01-01 05:00Z,a,,2")
    check_unenforced(community_app, data, before=1, twice=True)


def test_a_null_in_an_orderby_column_that_equals_others(community_app: App) -> None:
    rows = ("('2025-01-01 05:00Z', 'a', NULL, 7)", "('2025-01-01 05:00Z', 'a', 'z', 7)")
    make(community_app, "(k, time) NULLS NOT DISTINCT", *rows, segmentby="s", orderby="k, time")
    data = csv("2025-01-01 06:00Z,a,y,1", "2025-01-01 05:00Z,a,,2")
    check_unenforced(community_app, data, before=2, twice=True)


def test_a_null_that_makes_the_next_row_look_like_another(community_app: App) -> None:
    make(community_app, "(k, time)", "('2025-01-01 05:00Z', 'a', 'x', 7)")
    data = csv("2025-01-01 06:00Z,a,,1", "2025-01-01 05:00Z,a,y,2")
    check_unenforced(community_app, data, before=1, twice=False)


@pytest.mark.parametrize(
    "key",
    ["(k COLLATE {ci}, time)", "((k COLLATE {ci}), time)", "(k COLLATE {ci}, time) WHERE v < 100"],
    ids=["column", "expression", "partial"],
)
@pytest.mark.parametrize("segmentby", ["s, k", "s"])
def test_a_collation_that_takes_more_for_equal(community_app: App, key: str, segmentby: str) -> None:
    key = key.format(ci=case_insensitive(community_app))
    make(community_app, key, "('2025-01-01 05:00Z', 'a', 'x', 7)", columns=not_null(), segmentby=segmentby)
    check_unenforced(community_app, csv("2025-01-01 06:00Z,a,x,1", "2025-01-01 05:00Z,b,X,2"), before=1, twice=True)


def test_a_collation_that_takes_less_for_equal(community_app: App) -> None:
    columns = not_null().replace("k text", f"k text COLLATE {case_insensitive(community_app)}")
    make(community_app, '(k COLLATE "C", time)', "('2025-01-01 05:00Z', 'a', 'x', 7)", columns=columns, segmentby="s")
    check_unenforced(community_app, csv("2025-01-01 06:00Z,a,x,1", "2025-01-01 05:00Z,b,X,2"), before=1, twice=False)


def not_null() -> str:
    return COLUMNS.replace("k text", "k text NOT NULL")


@pytest.mark.parametrize(
    ("key", "is_proved"),
    [
        ("(lower(k), time)", True),
        ('(k COLLATE "C", time)', True),
        ("(k, time) WHERE v < 100", True),
        ("(k text_pattern_ops, time)", False),
        ("(k, later, time)", True),
    ],
)
def test_keys_of_a_kind_that_was_not_run(community_app: App, key: str, is_proved: bool) -> None:
    app = community_app
    make(app, "", "('2025-01-01 05:00Z', 'a', 'x', 7)", columns=not_null())
    app.database.execute("ALTER TABLE {s}.t ADD COLUMN later int NOT NULL DEFAULT 5")
    app.database.execute(f"CREATE UNIQUE INDEX u ON {{s}}.t {key}")
    data = csv("2025-01-01 06:00Z,a,x,1", "2025-01-01 07:00Z,a,x,2")
    answer = restore(app, data, APPEND, decompress=False)
    assert (answer.status, answer.code) == ((200, None) if is_proved else (409, "KeyNotEnforced")), answer.body
    doubled = csv("2025-01-01 08:00Z,a,x,1", "2025-01-01 05:00Z,a,x,2")
    for destination in (APPEND, STAGING):
        before = rows(app)
        assert restore(app, doubled, destination, decompress=False).code in ("KeyNotEnforced", "DataRejected")
        assert rows(app) == before
    assert ("decompress", "done") in actions(restore(app, doubled, STAGING, decompress="auto").body)


@pytest.mark.parametrize("destination", [APPEND, STAGING], ids=["direct", "staging"])
def test_a_key_that_timescaledb_cannot_search_for(community_app: App, destination: dict[str, Any]) -> None:
    """It ends with an internal error, XX000: `no btree opfamily for type "cstring"`."""
    app = community_app
    columns = not_null().replace("k text", "k name")
    make(app, "(k, time)", "('2025-01-01 05:00Z', 'a', 'x', 7)", columns=columns, segmentby="k")
    data = csv("2025-01-01 06:00Z,a,x,1", "2025-01-01 07:00Z,a,x,2")
    answer = restore(app, data, destination, decompress=False)
    assert (answer.status, answer.code) == (409, "KeyNotEnforced")
    assert answer.body["error"]["details"][0]["constraint"].endswith("_u")
    assert "decompress_window" in answer.body["error"]["hint"]
    assert rows(app) == 1
    # A dry run in full does not say that it has looked for it.
    for decompress in (False, "auto"):
        plan = restore(app, data, destination, decompress=decompress, dry_run="full").body
        assert ("duplicates" in plan["dry_run"]["not_checked"]) == (decompress is False)
        told = [warning["message"] for warning in plan["warnings"] if warning["code"] == "NotChecked"]
        assert any("KeyNotEnforced" in message for message in told) == (decompress is False)
    body = restore(app, data, destination, decompress="auto").body
    assert ("decompress", "done") in actions(body)
    assert rows(app) == 3


@pytest.mark.parametrize("destination", [APPEND, STAGING], ids=["direct", "staging"])
@pytest.mark.parametrize("decompress", [False, "auto"])
def test_an_empty_day_and_a_key_that_timescaledb_cannot_search_for(
    community_app: App, destination: dict[str, Any], decompress: object
) -> None:
    app = community_app
    columns = not_null().replace("k text", "k name")
    make(app, "(k, time)", "('2024-12-31 05:00Z', 'a', 'x', 7)", columns=columns, segmentby="k")
    data = csv("2025-01-01 06:00Z,a,x,1", "2025-01-01 07:00Z,a,x,2")
    answer = restore(app, data, destination, decompress=decompress)
    assert (answer.status, answer.code, rows(app)) == ((200, None, 3) if decompress else (409, "KeyNotEnforced", 1))


TYPES = [
    ("boolean", "true", "true", "false"),
    ("smallint", "5", "5", "6"),
    ("integer", "5", "5", "6"),
    ("bigint", "5", "5", "6"),
    ("real", "0", "-0", "1"),
    ("real", "NaN", "NaN", "1"),
    ("double precision", "0", "-0", "1"),
    ("double precision", "NaN", "NaN", "Infinity"),
    ("numeric", "1.0", "1.00", "1.01"),
    ("numeric", "NaN", "NaN", "0"),
    ("text", "x", "x", "X"),
    ("varchar(9)", "x", "x", "X"),
    ("character(4)", "x", "x  ", "X"),
    ("uuid", "0" * 32, "0" * 32, "1" * 32),
    ("date", "2025-01-01", "2025-01-01", "2025-01-02"),
    ("timestamp", "2025-01-01", "2025-01-01", "2025-01-02"),
    ("timestamptz", "2025-01-01 00:00Z", "2025-01-01 01:00+01", "2025-01-02 00:00Z"),
]

PLACES = [("k", "time"), ("s, k", "time"), ("s", "k, time"), ("", "time, k"), ("s", "time")]


# Each type in two of the places that a column can have in a compressed chunk: all were run once.
@pytest.mark.parametrize(
    ("type_", "one", "same", "other", "segmentby", "orderby"),
    [(*type_, *PLACES[(number + more) % len(PLACES)]) for number, type_ in enumerate(TYPES) for more in (0, 2)],
)
def test_keys_that_are_enforced(
    community_app: App, type_: str, one: str, same: str, other: str, segmentby: str, orderby: str
) -> None:
    """What is relied on, with a second key and several batches."""
    app = community_app
    columns = COLUMNS.replace("k text", f"k {type_} NOT NULL")
    many = [f"('2025-01-01 05:00Z'::timestamptz + {i} * interval '1 s', 'a', '{one}', {i})" for i in range(0, 1200, 7)]
    make(app, "(k, time)", *many, columns=columns, segmentby=segmentby, orderby=orderby)
    app.database.execute("CREATE UNIQUE INDEX w ON {s}.t (x, time, k)")
    before = rows(app)
    doubled = csv(
        f"2025-01-01 05:00Z,b,{other},1", f"2025-01-01 05:00:07Z,b,{same},2", f"2025-01-01 05:00:07Z,b,{other},3"
    )
    answer = restore(app, doubled, APPEND, decompress=False)
    assert (answer.code, answer.body["error"]["details"][0]["line"]) == ("DataRejected", 3)
    body = restore(app, doubled, STAGING, decompress=False).body
    assert (body["status"], body["rows_loaded"], body["rows_skipped"]) == ("ok", 2, 1)
    assert actions(body) == [("recompress", "done")]
    assert rows(app) == before + 2


def test_an_empty_day_meets_no_compressed_row(community_app: App) -> None:
    make(community_app, "(k, time) NULLS NOT DISTINCT", "('2024-12-30 05:00Z', 'a', NULL, 7)")
    answer = restore(community_app, csv("2025-01-01 05:00Z,a,,1"), {}, decompress=False)
    assert (answer.status, rows(community_app)) == (200, 2)
    answer = restore(community_app, csv("2025-01-01 06:00Z,a,,1"), {"on_existing": "replace"}, decompress=False)
    assert (answer.status, rows(community_app)) == (200, 2)


@pytest.mark.parametrize("decompress", [True, False, "auto"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_rows_of_another_day_whose_chunk_stays_compressed(community_app: App, mode: str, decompress: object) -> None:
    app = community_app
    make(
        app,
        "(k, time) NULLS NOT DISTINCT",
        "('2024-12-20 05:00Z', 'a', NULL, 7)",
        "('2025-01-01 01:00Z', 'a', NULL, 7)",
    )
    destination = APPEND | {"mode": mode, "rows_outside_window": "allow"}
    answer = restore(app, csv("2025-01-01 05:00Z,a,y,1", "2024-12-20 05:00Z,a,,2"), destination, decompress)
    assert (answer.status, answer.code, rows(app)) == (409, "KeyNotEnforced", 2)
    answer = restore(app, csv("2025-01-01 05:00Z,a,y,1", "2024-12-20 06:00Z,a,,2"), destination, decompress)
    assert (answer.status, rows(app)) == (200, 4), answer.body


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_without_a_count_the_keys_are_proved_too(community_app: App, mode: str) -> None:
    make(community_app, "(k, time) NULLS NOT DISTINCT", "('2025-01-01 05:00Z', 'a', NULL, 7)")
    destination = APPEND | {"mode": mode}
    answer = restore(community_app, csv("2025-01-01 05:00Z,a,,2"), destination, decompress=False, verify=False)
    assert (answer.status, answer.code, rows(community_app)) == (409, "KeyNotEnforced", 1)


def test_a_chunk_that_the_role_may_not_decompress(community_app: App) -> None:
    app = community_app
    make(app, "(k, time) NULLS NOT DISTINCT", "('2025-01-01 05:00Z', 'a', NULL, 7)")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    for decompress in (True, "auto"):
        answer = restore(app, csv("2025-01-01 05:00Z,a,,2"), APPEND, decompress, pg=role)
        assert (answer.status, answer.code, rows(app)) == (409, "KeyNotEnforced", 1)
    answer = restore(app, csv("2025-01-01 06:00Z,a,,2"), APPEND, decompress=True, pg=role)
    assert (answer.status, [warning["code"] for warning in answer.body["warnings"]]) == (
        200,
        ["DecompressFailed", "RecompressFailed"],
    )


def test_a_key_of_the_chunk_alone_that_lacks_the_time(community_app: App) -> None:
    app = community_app
    make(app, "", "('2024-12-30 05:00Z', 'a', 'x', 7)", columns=COLUMNS.replace("k text", "k text NOT NULL"))
    app.database.execute("SELECT public.decompress_chunk(c) FROM public.show_chunks('{s}.t') c")
    chunk = app.database.value("SELECT public.show_chunks('{s}.t')")
    app.database.execute(f"CREATE UNIQUE INDEX ON {chunk} (lower(k))")
    app.database.execute(COMPRESS)
    answer = restore(app, csv("2025-01-01 05:00Z,b,X,1"), {}, decompress=False)
    assert (answer.status, rows(app)) == (409 if answer.code == "KeyNotEnforced" else 422, 1), answer.body


def break_the_key(app: App) -> None:
    """Store a row twice, as TimescaleDB lets it in."""
    make(app, "(k, time) NULLS NOT DISTINCT", "('2024-12-30 05:00Z', 'a', NULL, 7)")
    app.database.execute("INSERT INTO {s}.t (time, s, k, v) VALUES ('2024-12-30 05:00Z', 'a', NULL, 8)")
    assert rows(app) == 2


@pytest.mark.parametrize("decompress", [True, "auto"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_chunk_that_breaks_its_own_key(community_app: App, mode: str, decompress: object) -> None:
    app = community_app
    break_the_key(app)
    destination = APPEND | {"mode": mode}
    app.database.execute("INSERT INTO {s}.t (time, s, k, v) VALUES ('2025-01-01 04:00Z', 'a', 'x', 9)")
    answer = restore(app, csv("2025-01-01 05:00Z,a,y,1"), destination, decompress)
    assert (answer.status, answer.code, rows(app)) == (409, "ChunkInconsistent", 3)
    assert answer.body["error"]["details"][0]["chunk"].startswith("_timescaledb_internal.")
    assert "duplicate key" in answer.body["error"]["message"]


def test_an_empty_day_goes_beside_the_rows_of_a_broken_chunk(community_app: App) -> None:
    app = community_app
    break_the_key(app)
    assert restore(app, csv("2025-01-01 05:00Z,a,y,1"), {}, decompress=False).status == 200
    # Now the day is not empty any more.
    answer = restore(app, csv("2024-12-30 04:00Z,a,y,1"), APPEND | {"rows_outside_window": "allow"}, decompress=False)
    assert (answer.status, answer.code, rows(app)) == (409, "ChunkInconsistent", 3)


def test_a_broken_chunk_that_is_replaced_whole(community_app: App) -> None:
    app = community_app
    app.database.hypertable("t", COLUMNS)
    app.database.execute("ALTER TABLE {s}.t SET (timescaledb.compress, timescaledb.compress_segmentby = 's, k')")
    app.database.execute("CREATE UNIQUE INDEX u ON {s}.t (k, time) NULLS NOT DISTINCT")
    for turn in range(2):
        app.database.execute("INSERT INTO {s}.t (time, s, k, v) VALUES ('2025-01-01 05:00Z', 'a', NULL, %s)", turn)
        app.database.execute(COMPRESS)
    answer = restore(app, csv("2025-01-01 05:00Z,a,,1"), {"on_existing": "replace"}, decompress=True)
    assert (answer.status, answer.body["removed_by"], rows(app)) == (200, "truncate", 1), answer.body


def test_a_broken_chunk_whose_day_a_role_may_delete_but_not_decompress(community_app: App) -> None:
    app = community_app
    break_the_key(app)
    app.database.execute("INSERT INTO {s}.t (time, s, k, v) VALUES ('2025-01-01 05:00Z', 'a', NULL, 8)")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE ON {s}.t")
    url = app.archive("t", csv("2024-12-30 05:00Z,a,y,1"), day="2024-12-30")
    answer = app.restore(url, destination={"on_existing": "replace"}, pg=role)
    assert (answer.status, answer.code, rows(app)) == (409, "ChunkInconsistent", 3)
