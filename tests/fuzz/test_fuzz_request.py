"""Bodies and URLs of any kind: an answer is always JSON, never a 500, never a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shared.errors import RestoreError
from shared.model.location import parse_adls_url
from tests.fuzz.fix_fuzz import FUZZ, Target

CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 12:00Z,2\n"

# Characters that mean something to JSON, SQL, URLs, CSV or logs, and halves of surrogate pairs.
ODD = st.text(st.sampled_from("ab\0\"'\\;%/.,:@?#[]{}()=* \t\r\n-_$é\u202e\ud800\udfff\U0001f600"), max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(2**62, 2**70), st.floats(), ODD, st.text(max_size=8)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3))

SECTIONS: dict[str, list[str]] = {
    "pg": ["user", "password", "sslmode", "database", "port", "connection_uri"],
    "destination": [
        "mode", "target_table", "create_staging_like", "on_existing", "rows_outside_window", "time_column",
    ],
    "timescaledb": ["decompress_window", "recompress_window", "refresh_caggs"],
    "copy": [
        "csv_options", "columns", "column_map", "synchronous_commit_off", "on_error", "max_rejected_rows",
        "expected_rows", "expected_sha256",
    ],
}  # fmt: skip
FIELDS: list[tuple[str, ...]] = [(section, name) for section, names in SECTIONS.items() for name in names]
FIELDS += [("copy", "csv_options", name) for name in ("HEADER", "delimiter", "Null", "QUOTE", "ESCAPE", "ENCODING")]
FIELDS += [("copy", "csv_options", name) for name in ("FORCE_NULL", "FORCE_NOT_NULL", "DEFAULT")]
FIELDS += [(name,) for name in ("adls_url", "pg", "destination", "timescaledb", "copy", "verify", "dry_run")]


@pytest.fixture
def request_body(target: Target) -> dict[str, Any]:
    """Return a request that works as often as it is sent."""
    target.app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = target.app.archive("t", CSV)
    return {"adls_url": url, "pg": target.app.database.pg, "destination": {"on_existing": "replace"}}


@FUZZ
@given(body=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(target: Target, body: bytes) -> None:
    assert target.send(body).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"{" * 200_000,
        b"[" * 200_000,
        b'{"a":' * 100_000,
        *(b'{"adls_url": ' + b"[" * depth + b"]" * depth + b"}" for depth in (900, 990, 5_000, 100_000)),
        *(b'{"adls_url": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}" for depth in (300, 900, 990, 5_000)),
        b'{"verify": ' + b"9" * 10_000 + b"}",
        b'{"pg": {"port": 1e999}}',
        b'{"\\ud800": "\\ud800"}',
        b'{"pg": {"\\udfff": [1, {"\\ud800": "\\u0000"}]}}',
        '{"adls_url": "x"}'.encode("utf-16"),
        b'{"adls_url": "' + b"x" * 3_000_000 + b'"}',
        b'{"' + b"y" * 3_000_000 + b'": 1}',
        b'{"adls_url": "x", "copy": {"columns": [' + b",".join([b"1"] * 100_000) + b"]}}",
        json.dumps({f"field{n}": n for n in range(20_000)}).encode(),
    ],
    ids=lambda body: f"{body[:12]!r} of {len(body)}",
)
def test_bodies_that_are_too_much(target: Target, body: bytes) -> None:
    answer = target.send(body)
    assert answer.status == (400 if len(body) <= 1024 * 1024 else 413)
    # Data Factory takes no more than 4 MB.
    assert len(json.dumps(answer.body)) < 1_000_000


@settings(FUZZ, max_examples=300)
@given(data=st.data())
def test_any_value_in_any_field(target: Target, request_body: dict[str, Any], data: st.DataObject) -> None:
    body = json.loads(json.dumps(request_body))
    for _ in range(data.draw(st.integers(1, 3))):
        *sections, name = data.draw(st.sampled_from(FIELDS))
        section = body
        for step in sections:
            section = section[step] if isinstance(section.get(step), dict) else section.setdefault(step, {}) or {}
            if not isinstance(section, dict):
                break
        else:
            section[name] = data.draw(VALUES)
    _assume_loopback(body)
    target.send(json.dumps(body).encode())


URIS = st.lists(
    st.sampled_from(
        [
            "postgresql://", "postgres://", "127.0.0.1", ":", "@", "/", "?", "&", "=", "5432", "%", "%00", "%20", "x",
            ",", "options=-c%20search_path%3Dx", "options=-c%20timescaledb.restoring%3Don", "replication=database",
            "sslmode=disable", "sslmode=wrong", "client_encoding=SQL_ASCII", "client_encoding=nix", "connect_timeout=x",
            "connect_timeout=0", "connect_timeout=5",
            "service=x", "target_session_attrs=standby", "hostaddr=127.0.0.1", "application_name=x", "dbname=postgres",
            "require_auth=none", "passfile=/nonexistent", "load_balance_hosts=random", "gssencmode=require",
            "keepalives=x", "port=99999", "port=1", "sslcert=/nonexistent",
            "options=-c%20default_transaction_read_only%3Don",
            "options=-c%20statement_timeout%3D1", "options=-c%20role%3Dnobody",
            "options=-c%20standard_conforming_strings%3Doff",
        ]
    ),
    max_size=8,
)  # fmt: skip


@settings(FUZZ, max_examples=30)
@example(parts=["connect_timeout=5", "port=1"])
@example(parts=["connect_timeout=0"])
@given(parts=URIS)
def test_any_connection_uri(target: Target, request_body: dict[str, Any], parts: list[str]) -> None:
    pg = target.app.database.pg
    start = f"postgresql://{pg['user']}:{pg['password']}@127.0.0.1:{pg['port']}/{target.app.database.name}?"
    for uri in (start + "&".join(part for part in parts if "=" in part), "postgresql://" + "".join(parts)):
        _assume_loopback({"pg": {"connection_uri": uri}})
        answer = target.send(request_body | {"pg": {"connection_uri": uri}})
        # A server that asks for none has an empty one, which is in every text.
        assert not pg["password"] or str(pg["password"]) not in json.dumps(answer.body.get("error"))


URL_PARTS = st.sampled_from(
    ["abfss://", "https://", "http://", "fs", "@", "{account}", ".dfs.core.windows.net", ".blob.core.windows.net", "/",
     "//", "backups/", "db/", "s", ".", "t", ".2025-01-01", ".2025-02-30", ".csv.gz", "%20", "%2F", "%", "%zz", "%ff",
     "%00", "?sig=x", "#", "\\", "..", ":", ":443", "é", "\u212a", "\ud800", '"', "'", " ", "{fs}", "x" * 100]
)  # fmt: skip


@FUZZ
@example(parts=["backups/db/s.t.2025-01-01.csv.gz"])
@example(parts=["https://{account}.blob.core.windows.net/{fs}/backups/db/%22s%3B.t'.2025-01-01.csv.gz"])
@given(parts=st.lists(URL_PARTS | ODD, max_size=12))
def test_any_url(target: Target, parts: list[str]) -> None:
    storage = target.app.storage
    url = "".join(parts).replace("{account}", storage.account).replace("{fs}", storage.filesystem)
    _assume_loopback({"adls_url": url})
    answer = target.send(json.dumps({"adls_url": url, "pg": target.app.database.pg}).encode())
    assert answer.status in {400, 404}
    assert answer.body["error"]["target"] == "adls_url"


@FUZZ
@given(data=st.data())
def test_a_url_with_some_letters_changed(target: Target, request_body: dict[str, Any], data: st.DataObject) -> None:
    url = list(request_body["adls_url"])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(url)))
        url[place : place + data.draw(st.integers(0, 2))] = data.draw(ODD)
    _assume_loopback({"adls_url": "".join(url)})
    target.send(json.dumps(request_body | {"adls_url": "".join(url)}).encode())


def _assume_loopback(body: dict[str, Any]) -> None:
    """Leave out what would go beyond this machine: another storage account, another host."""
    uri = body["pg"].get("connection_uri") if isinstance(body.get("pg"), dict) else None
    if isinstance(uri, str):
        host = uri.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[0].partition(":")[0]
        assume("," not in uri and host in {"", "127.0.0.1"})
    if isinstance(body.get("adls_url"), str):
        try:
            location = parse_adls_url(
                body["adls_url"], default_account_url="https://a00.dfs.core.windows.net", default_filesystem="fs1"
            )
        except RestoreError:
            return
        assume(location.account in {"devstoreaccount1", "a00"})
