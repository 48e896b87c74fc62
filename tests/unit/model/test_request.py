from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.api.parse import parse_request
from shared.errors import InvalidArchiveUrl, InvalidJson, InvalidRequest, RequestError, RestoreError
from shared.model.request import RestoreRequest
from shared.names import QualifiedName

URL = "abfss://archive@account.dfs.core.windows.net/backups/weavix/silver.telemetry.2025-01-01.csv.gz"


def parse(**body: Any) -> RestoreRequest:
    return parse_request(json.dumps({"adls_url": URL} | body).encode())


def faults(**body: Any) -> dict[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse(**body)
    return {fault.target: fault.code for fault in caught.value.details}


def test_the_defaults() -> None:
    request = parse()
    assert request.archive.url == URL
    assert request.destination.mode == "direct"
    assert request.target_table == QualifiedName("silver", "telemetry")
    assert request.timescaledb.decompress_window
    assert request.timescaledb.recompress_window
    assert request.timescaledb.refresh_caggs == ()
    assert request.copy_.synchronous_commit_off
    assert request.copy_.csv_options.header is True
    assert request.copy_.csv_options.encoding == "UTF8"


def test_the_users_own_example() -> None:
    request = parse(
        pg={
            "host": "h",
            "port": 5432,
            "user": "u",
            "password": "p",
            "sslmode": "require",
            "database": None,
            "connection_uri": None,
        },
        destination={"mode": "direct", "target_table": None, "create_staging_like": None},
        timescaledb={"decompress_window": True, "recompress_window": True, "refresh_caggs": ["schema.my_cagg"]},
        copy={
            "csv_options": {"HEADER": True, "DELIMITER": ",", "NULL": "", "QUOTE": '"'},
            "columns": None,
            "column_map": {},
            "synchronous_commit_off": True,
        },
    )
    assert request.timescaledb.refresh_caggs == ("schema.my_cagg",)


def test_null_is_left_out() -> None:
    assert parse(pg=None, destination=None, timescaledb=None, copy={"csv_options": None, "column_map": None}) == parse()


@pytest.mark.parametrize(
    ("body", "target", "code"),
    [
        ({"nix": 1}, "nix", "UnknownField"),
        ({"pg": {"hots": "x"}}, "pg.hots", "UnknownField"),
        ({"pg": {"port": 0}}, "pg.port", "InvalidValue"),
        ({"pg": {"sslmode": "on"}}, "pg.sslmode", "InvalidValue"),
        ({"pg": "x"}, "pg", "InvalidValue"),
        ({"pg": {"connection_uri": "host=x"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://h/%zz"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://u:a@b@h/d"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://h:99999/d"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://h:x/d"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://h/d?sslmode=wrong"}}, "pg.connection_uri", "InvalidValue"),
        ({"pg": {"connection_uri": "postgresql://h/d", "user": "u"}}, "pg", "InvalidValue"),
        ({"destination": {"mode": "Direct"}}, "destination.mode", "InvalidValue"),
        ({"destination": {"target_table": "a."}}, "destination.target_table", "InvalidValue"),
        ({"destination": {"create_staging_like": "a.b"}}, "destination.create_staging_like", "InvalidValue"),
        ({"destination": {"min_rows_ratio": 1.01}}, "destination.min_rows_ratio", "InvalidValue"),
        ({"destination": {"min_rows_ratio": -0.01}}, "destination.min_rows_ratio", "InvalidValue"),
        ({"destination": {"min_rows_ratio": True}}, "destination.min_rows_ratio", "InvalidValue"),
        ({"timescaledb": {"refresh_caggs": "some"}}, "timescaledb.refresh_caggs", "InvalidValue"),
        ({"timescaledb": {"refresh_caggs": ["a", 1]}}, "timescaledb.refresh_caggs", "InvalidValue"),
        ({"timescaledb": {"refresh_caggs": ["a"] * 1001}}, "timescaledb.refresh_caggs", "InvalidValue"),
        ({"pg": {"password": "x" * 8193}}, "pg.password", "InvalidValue"),
        ({"pg": {"host": "a,b,c,d,e,f,g,h,i"}}, "pg.host", "InvalidValue"),
        ({"pg": {"database": "postgresql://u:p@h/d"}}, "pg.database", "InvalidValue"),
        ({"pg": {"user": "a\r\nb"}}, "pg.user", "InvalidValue"),
        ({"timescaledb": {"decompress_window": "perhaps"}}, "timescaledb.decompress_window", "InvalidValue"),
        ({"copy": {"columns": []}}, "copy.columns", "InvalidValue"),
        ({"copy": {"columns": ["a", ""]}}, "copy.columns.1", "InvalidValue"),
        ({"copy": {"columns": ["a", "a"]}}, "copy.columns", "InvalidValue"),
        ({"copy": {"csv_options": {"header": False}}}, "copy.columns", "InvalidValue"),
        ({"copy": {"header": "ignore"}}, "copy.header", "InvalidValue"),
        ({"copy": {"on_error": "skip"}}, "copy.max_rejected_rows", "InvalidValue"),
        ({"copy": {"max_rejected_rows": 1}}, "copy.on_error", "InvalidValue"),
        ({"copy": {"on_error": "skip", "max_rejected_rows": 1}}, "copy.on_error", "InvalidValue"),
        ({"copy": {"skip_lines": 1001}}, "copy.skip_lines", "InvalidValue"),
        ({"copy": {"column_map": {"": "a"}}}, "copy.column_map", "InvalidValue"),
        ({"copy": {"csv_options": {"QUOT": "x"}}}, "copy.csv_options.QUOT", "UnknownField"),
        ({"copy": {"csv_options": {"HEADER": "maybe"}}}, "copy.csv_options.HEADER", "InvalidValue"),
        ({"copy": {"csv_options": {"DELIMITER": "ab"}}}, "copy.csv_options.DELIMITER", "InvalidValue"),
        ({"copy": {"csv_options": {"DELIMITER": "ä"}}}, "copy.csv_options.DELIMITER", "InvalidValue"),
        ({"copy": {"csv_options": {"QUOTE": "\n"}}}, "copy.csv_options.QUOTE", "InvalidValue"),
        ({"copy": {"csv_options": {"QUOTE": ","}}}, "copy.csv_options", "InvalidValue"),
        ({"copy": {"csv_options": {"NULL": "a,b"}}}, "copy.csv_options", "InvalidValue"),
        ({"copy": {"csv_options": {"NULL": "x\n"}}}, "copy.csv_options.NULL", "InvalidValue"),
        ({"copy": {"csv_options": {"NULL": "x", "DEFAULT": "x"}}}, "copy.csv_options", "InvalidValue"),
        ({"copy": {"csv_options": {"NULL": "", "null": ""}}}, "copy.csv_options", "InvalidValue"),
        ({"copy": {"csv_options": {"ENCODING": "UTF-9"}}}, "copy.csv_options.ENCODING", "InvalidValue"),
        ({"copy": {"csv_options": {"FORMAT": "text"}}}, "copy.csv_options.FORMAT", "UnknownField"),
        ({"destination": {"target_table": "a\0b"}}, "destination.target_table", "InvalidValue"),
    ],
)
def test_every_wrong_field_is_named(body: dict[str, Any], target: str, code: str) -> None:
    assert faults(**body) == {target: code}


def test_all_faults_at_once_the_urls_own_among_them() -> None:
    found = faults(adls_url="x", pg={"port": "x"}, nix=1)
    assert found == {"adls_url": "InvalidArchiveUrl", "pg.port": "InvalidValue", "nix": "UnknownField"}


def test_a_url_that_alone_is_wrong_keeps_its_own_code() -> None:
    with pytest.raises(InvalidArchiveUrl):
        parse(adls_url="abfss://archive@account.dfs.core.windows.net/x.csv.gz")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"1", b'"x"', b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000]
)
def test_what_is_not_a_json_object(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_request(body)


def test_secrets_are_in_no_message_and_no_repr() -> None:
    secret = "correct-horse"
    uri = f"postgresql://u:{secret}@h/%zz"
    for pg in (
        {"password": secret, "port": "x"},
        {"connection_uri": uri},
        {"password": [secret]},
        {secret[:7]: secret},
    ):
        with pytest.raises(InvalidRequest) as caught:
            parse(pg=pg)
        assert secret not in repr(caught.value.details) + str(caught.value)
    assert secret not in repr(parse(pg={"password": secret}))
    assert secret not in repr(parse(pg={"connection_uri": f"postgresql://u:{secret}@h/d"}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=3),
    max_leaves=8,
)
sections = st.fixed_dictionaries(
    {},
    optional={
        "adls_url": json_values | st.just(URL),
        "pg": json_values
        | st.dictionaries(st.sampled_from(["host", "port", "password", "connection_uri"]), json_values),
        "destination": json_values | st.dictionaries(st.sampled_from(["mode", "target_table"]), json_values),
        "timescaledb": json_values | st.dictionaries(st.sampled_from(["refresh_caggs"]), json_values),
        "copy": st.fixed_dictionaries(
            {},
            optional={
                "csv_options": json_values
                | st.dictionaries(st.sampled_from(["header", "NULL", "quote", "FORCE_NULL"]), json_values),
                "columns": json_values,
                "column_map": json_values,
            },
        ),
    },
)


@given(sections | json_values)
def test_any_json_is_a_request_or_a_request_error(body: Any) -> None:
    try:
        request = parse_request(json.dumps(body).encode())
    except RequestError:
        return
    assert isinstance(request, RestoreRequest)


@given(st.binary())
def test_any_bytes_are_a_request_error(body: bytes) -> None:
    with pytest.raises(RestoreError):
        parse_request(body)
