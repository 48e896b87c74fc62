"""Headers and rows of any kind, in any dialect: an "ok" stands only over rows that are there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.fix_fuzz import FUZZ, Target

PIECES = st.sampled_from(
    [b"time", b"v", b"w", b",", b";", b'"', b'""', b"'", b"\\", b"\\.", b"\n", b"\r", b"\r\n", b"\t", b" ", b"\0",
     b"\xef\xbb\xbf", b"\xc3\xa9", b"\xe9", b"\xff\xfe", b"|", b"2025-01-01 00:00Z", b"2025-01-02Z", b"1", b"NULL", b""]
)  # fmt: skip

ONE_BYTE = st.sampled_from([",", ";", '"', "'", "\\", "|", "\t", " ", "a", "."])
OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "HEADER": st.sampled_from([True, "match", False]),
        "DELIMITER": ONE_BYTE,
        "QUOTE": ONE_BYTE,
        "ESCAPE": ONE_BYTE,
        "NULL": st.sampled_from(["", "NULL", "\\N", " "]),
        "DEFAULT": st.sampled_from(["D", "\\D"]),
        "ENCODING": st.sampled_from(["UTF8", "LATIN1", "SJIS", "BIG5", "GB18030", "SQL_ASCII", "UHC", "MULE_INTERNAL"]),
        "FORCE_NULL": st.sampled_from([["v"], ["nix"], ["*"], "*"]),
        "FORCE_NOT_NULL": st.sampled_from([["v"], ["time", "v"], ["*"]]),
    },
)
HEADER = st.lists(PIECES, max_size=12).map(b"".join)
GOOD_ROWS = b"\n2025-01-01 00:00Z,1\n2025-01-01 01:00Z,2\n"


@pytest.fixture(params=["direct", "staging"])
def request_body(target: Target, request: pytest.FixtureRequest) -> dict[str, Any]:
    target.app.database.hypertable("t", "time timestamptz NOT NULL, v int, \"w x\" text DEFAULT 'd'")
    destination = {"mode": request.param, "on_existing": "replace", "min_rows_ratio": 0}
    return {"pg": target.app.database.pg, "destination": destination}


def check(target: Target, body: dict[str, Any], csv: bytes) -> None:
    before = target.app.database.fetch("SELECT * FROM {s}.t")
    answer = target.send(json.dumps(body | {"adls_url": target.app.archive("t", csv)}).encode())
    after = target.app.database.fetch("SELECT * FROM {s}.t")
    assert answer.status in {200, 400, 422}, answer.body
    if answer.status == 200:
        assert len(after) == answer.body["rows_loaded"]
        assert set(answer.body["columns_loaded"]) <= {"time", "v", "w x"}
    else:
        assert after == before


@settings(FUZZ, max_examples=100)
@example(header=b"time,v\xef\xbb\xbf", rows=GOOD_ROWS, options={}, lines=0, way="check")
@example(header=b'\xef\xbb\xbf"time",v', rows=GOOD_ROWS, options={"HEADER": "match"}, lines=0, way="check")
@example(header=b"sep=;\ntime,v", rows=GOOD_ROWS, options={}, lines=1, way="check")
@example(header=b'time,"v', rows=GOOD_ROWS, options={}, lines=0, way="ignore")
@given(
    header=HEADER,
    rows=st.just(GOOD_ROWS) | HEADER,
    options=OPTIONS,
    lines=st.sampled_from([0, 0, 1, 2]),
    way=st.sampled_from(["check", "check", "ignore"]),
)
def test_any_header(
    target: Target,
    request_body: dict[str, Any],
    header: bytes,
    rows: bytes,
    options: dict[str, Any],
    lines: int,
    way: str,
) -> None:
    copy: dict[str, Any] = {"csv_options": options, "skip_lines": lines, "header": way}
    if options.get("HEADER") is False or way == "ignore":
        copy["columns"] = ["time", "v"]
    check(target, request_body | {"copy": copy}, header + rows)


NAMES = st.sampled_from(
    ["time", "v", "w", "w x", "TIME", "", " ", '"', "ctid", "tableoid", "a" * 63, "a" * 64, "é", "%s"]
)


@FUZZ
@given(
    names=st.lists(NAMES, min_size=1, max_size=4),
    column_map=st.dictionaries(NAMES, st.none() | NAMES, max_size=3),
    columns=st.none() | st.lists(NAMES, max_size=3),
)
def test_any_names(
    target: Target,
    request_body: dict[str, Any],
    names: list[str],
    column_map: dict[str, str | None],
    columns: list[str] | None,
) -> None:
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names).encode()
    row = ",".join(["2025-01-01 00:00Z", "1", "x", "y"][: len(names)]).encode()
    copy = {"column_map": column_map, "columns": columns}
    check(target, request_body | {"copy": copy}, header + b"\n" + row + b"\n")


@settings(FUZZ, max_examples=12)
@given(
    piece=st.sampled_from([b"x", b",", b'"', b'","', b"\xc3\xa9", b"\r", b"time,", b"\\."]),
    size=st.integers(1_000_000, 5_000_000),
    end=st.sampled_from([b"", b"\n", GOOD_ROWS]),
)
def test_headers_that_are_too_long(
    target: Target, request_body: dict[str, Any], piece: bytes, size: int, end: bytes
) -> None:
    check(target, request_body, piece * (size // len(piece)) + end)
