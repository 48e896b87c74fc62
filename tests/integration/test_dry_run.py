"""What would happen, without anything happening."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.integration.fix_site import Site

CSV = b'time,v,note\n2025-01-01 00:00Z,1,"two\nlines"\n2025-01-01 12:00Z,2,\n'


def dry(site: Site, csv: bytes = CSV, **request: Any) -> dict[str, Any]:
    answer = site.restore(site.archive("t", csv), dry_run=True, **request)
    assert (answer.status, answer.body["status"]) == (200, "dry_run"), answer.body
    found: dict[str, Any] = answer.body["dry_run"]
    return found


@pytest.fixture(autouse=True)
def table(site: Site) -> None:
    site.database.hypertable("t", "time timestamptz NOT NULL, v int, note text")


def test_an_empty_day(site: Site) -> None:
    assert dry(site) == {
        "rows_in_archive": 2,
        "rows_existing": 0,
        "on_existing": "error",
        "chunks": [],
        "caggs": [],
        "permissions_missing": [],
        "problems": [],
    }
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0
    assert site.database.fetch("SELECT public.show_chunks('{s}.t')") == []


def test_a_day_that_is_there(site: Site) -> None:
    site.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    found = dry(site)
    assert (found["rows_existing"], [p["code"] for p in found["problems"]]) == (1, ["WindowNotEmpty"])
    found = dry(site, destination={"on_existing": "replace"}, copy={"expected_rows": 7})
    assert [p["code"] for p in found["problems"]] == ["RowCountMismatch"]
    assert found["chunks"][0]["would"] == ["truncate, or delete its rows"]


def test_what_a_role_lacks(site: Site) -> None:
    found = dry(site, pg=site.database.role(), destination={"mode": "staging", "on_existing": "replace"})
    assert {(m["right"], m["needed"]) for m in found["permissions_missing"]} == {
        ("INSERT", True),
        ("SELECT", True),
        ("DELETE", True),
        ("USAGE", True),
        ("CREATE", True),
    }
    assert "DatabasePermissionDenied" in [p["code"] for p in found["problems"]]
    assert found["rows_existing"] is None


def test_errors_are_those_of_the_restore(site: Site) -> None:
    assert site.restore(site.archive("nix", CSV), dry_run=True).code == "TableNotFound"
    assert site.restore(site.archive("t", b"nix\n1\n"), dry_run=True).code == "UnknownColumn"
    assert site.restore(site.stored("t", b"plain"), dry_run=True).code == "ArchiveNotGzip"


def test_it_waits_for_nobody_and_nobody_waits_for_it(site: Site) -> None:
    """Beside a writer that holds the strongest lock that a writer takes, and beside a running restore's guard."""
    site.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01Z', 1)")
    with closing(site.database.session(autocommit=False)) as writer, writer.cursor() as cursor:
        cursor.execute(f'LOCK TABLE "{site.database.schema}".t IN SHARE ROW EXCLUSIVE MODE')
        assert dry(site)["rows_existing"] == 1


@pytest.mark.parametrize(
    ("csv", "options", "rows"),
    [
        (b"time\n", {}, 0),
        (b"time", {}, 0),
        (b"time\n2025-01-01", {}, 1),
        (b"\xef\xbb\xbftime\r\n2025-01-01\r\n2025-01-01\r\n", {}, 2),
        (b"time\r2025-01-01\r2025-01-01\r", {}, 2),
        (b'time,note\n2025-01-01,"a\n""b\n"\n2025-01-01,"x"\n', {}, 2),
        (b"time,note\n2025-01-01,'a\\'\n'\n2025-01-01,x\n", {"QUOTE": "'", "ESCAPE": "\\"}, 2),
        (b"2025-01-01\n2025-01-02\n", {"HEADER": False}, 2),
    ],
)
def test_the_archives_rows_are_counted_as_copy_counts_them(
    site: Site, csv: bytes, options: dict[str, Any], rows: int
) -> None:
    copy = {"csv_options": options} | ({} if options.get("HEADER", True) else {"columns": ["time"]})
    assert dry(site, csv, copy=copy)["rows_in_archive"] == rows
    request: dict[str, Any] = {"copy": copy, "destination": {"on_existing": "append"}, "verify": False}
    assert site.restore(site.archive("t", csv), **request).body["rows_loaded"] == rows
