"""An integer time column: its unit is read off the rows, and its times are numbers in the answer."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import App

DAY = 1735689600  # 2025-01-01T00:00:00Z
HEADER = b"time,v\n"


def row(seconds: int, v: int = 1) -> bytes:
    return f"{DAY + seconds},{v}\n".encode()


@pytest.mark.parametrize("mode", ["direct", "staging"])
@pytest.mark.parametrize(
    ("csv", "line"),
    [
        (HEADER + f"{DAY},1,2\n".encode(), 2),
        (HEADER + f"{DAY}\n".encode(), 2),
        (HEADER + f"{DAY},1,2\n".encode() + row(1), 2),
        (HEADER + b"soon,1\n" + row(1), 2),
        (HEADER + b"soon,1\n", 2),
        (HEADER + b"\n" + row(1), 2),
        (HEADER + b",1\n" + row(1), 2),
        (HEADER + row(0) + f"{DAY},1,2\n".encode(), 3),
        (HEADER + f'{DAY},1,"2\n"\n'.encode(), 3),
        (HEADER + f'{DAY},1,"2\n"\n'.encode() + row(1), 3),
    ],
)
def test_a_first_row_that_cannot_be_read_is_named(app: App, csv: bytes, line: int, mode: str) -> None:
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    app.database.execute("INSERT INTO {s}.t VALUES (%s, 7)", DAY + 86400)
    for on_existing in ("error", "skip", "replace"):
        answer = app.restore(app.archive("t", csv), destination={"mode": mode, "on_existing": on_existing})
        assert (answer.status, answer.code) == (422, "DataRejected"), answer.body
        details = answer.body["error"]["details"]
        # A null is refused by the table, which names no line in staging.
        if b"\n,1" not in csv:
            assert details[0]["line"] == line
        assert "soon" not in str(answer.body)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 1


def test_a_first_row_of_another_time_leaves_the_day_unknown(app: App) -> None:
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    answer = app.restore(app.archive("t", HEADER + b"5,1\n" + row(1)))
    assert (answer.status, answer.code) == (422, "WindowUnknown")


@pytest.mark.parametrize("outside", ["error", "allow"])
@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_file_without_the_times_leaves_the_day_unknown(app: App, mode: str, outside: str) -> None:
    """The column may be missing, or be left out."""
    app.database.hypertable("t", "time bigint NOT NULL DEFAULT 0, v int", interval="86400")
    app.database.execute("INSERT INTO {s}.t VALUES (%s, 7)", DAY)
    destination = {"mode": mode, "on_existing": "error", "rows_outside_window": outside}
    for csv, column_map in ((b"v\n1\n", {}), (HEADER + row(0), {"time": None})):
        answer = app.restore(app.archive("t", csv), destination=destination, copy={"column_map": column_map})
        assert (answer.status, answer.code) == (422, "WindowUnknown")
        assert answer.body["error"]["message"].endswith('unit of "time" is unknown, since the file lacks that column')


@pytest.mark.parametrize("outside", ["error", "allow"])
def test_a_file_whose_rows_have_no_time_is_not_called_empty(app: App, outside: str) -> None:
    app.database.hypertable("t", "time bigint NOT NULL DEFAULT 0, v int", interval="86400")
    app.database.execute("INSERT INTO {s}.t VALUES (%s, 7)", DAY)
    destination = {"rows_outside_window": outside}
    answer = app.restore(app.archive("t", HEADER + b",1\n,2\n"), destination=destination)
    assert (answer.status, answer.code) == (422, "WindowUnknown")
    message = answer.body["error"]["message"]
    assert message.endswith('the unit of "time" is unknown, since no row at the beginning of the file has a time')


def test_integer_times_are_numbers(app: App) -> None:
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    url = app.archive("t", HEADER + row(0) + row(3600, 2) + row(86400, 3))
    detail = app.restore(url).body["error"]["details"][0]
    assert (detail["min_time"], detail["max_time"]) == (DAY + 86400, DAY + 86400)
    proof = app.restore(url, destination={"rows_outside_window": "allow", "on_existing": "append"}).body["verification"]
    assert (proof["min_time"], proof["max_time"]) == (DAY, DAY + 86400)


@pytest.mark.community
def test_the_buckets_of_integers_are_numbers(community_app: App) -> None:
    app = community_app
    app.database.hypertable("t", "time bigint NOT NULL, v int", interval="86400")
    app.database.execute(
        "CREATE FUNCTION {s}.unix_now() RETURNS bigint LANGUAGE sql STABLE AS"
        " $$ SELECT extract(epoch FROM now())::bigint $$"
    )
    app.database.execute("SELECT public.set_integer_now_func('{s}.t', '{s}.unix_now')")
    app.database.execute(
        "CREATE MATERIALIZED VIEW {s}.c WITH (timescaledb.continuous) AS"
        " SELECT public.time_bucket(3600, time) AS bucket, sum(v) FROM {s}.t GROUP BY 1 WITH NO DATA"
    )
    url = app.archive("t", HEADER + row(0))
    window = {"start": DAY, "end": DAY + 86400}
    planned = app.restore(url, dry_run=True, timescaledb={"refresh_caggs": "all"}).body["dry_run"]["caggs"]
    assert [cagg["window"] for cagg in planned] == [window]
    refreshed = app.restore(url, timescaledb={"refresh_caggs": "all"}).body["caggs"]
    assert [cagg["window"] for cagg in refreshed] == [window]
