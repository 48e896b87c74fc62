"""Answers that help at night: the hint names the option, the column or the statement that solves the problem."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.fix_app import Answer, App

BOTH = pytest.mark.parametrize("mode", ["direct", "staging"])
WAYS = pytest.mark.parametrize("way", [{}, {"format": "binary"}, {"transfer": "stream"}])
TABLE = "time timestamptz NOT NULL, v int, note text"


def load(app: App, csv: str | bytes, mode: str = "direct", *, dry_run: bool = False, **copy: Any) -> Answer:
    data = csv if isinstance(csv, bytes) else csv.encode()
    return app.restore(app.archive("t", data), destination={"mode": mode}, copy=copy, dry_run=dry_run)


def check(answer: Answer, code: str, *words: str, target: str | None = None, status: int = 422) -> dict[str, Any]:
    """Check the code, the words of the message and hint, and the target; return the error."""
    assert (answer.status, answer.code) == (status, code), answer.body
    error: dict[str, Any] = answer.body["error"]
    text = f"{error['message']} {error['hint']}"
    assert [word for word in words if word not in text] == [], text
    assert target is None or error["target"] == target
    return error


@BOTH
@WAYS
@pytest.mark.parametrize(
    ("csv", "options", "words"),
    [
        ("\\N", {}, ['NULL to "\\\\N"']),
        ("NULL", {}, ['NULL to "NULL"']),
        ("None", {}, ['NULL to "None"']),
        ('""', {}, ['FORCE_NULL ["v"]', '"*"']),
        ('"\\N"', {"NULL": "\\N"}, ['FORCE_NULL ["v"]']),
        ("", {"NULL": "\\N"}, ['NULL to ""']),
        ("", {"FORCE_NOT_NULL": ["v"]}, ["FORCE_NOT_NULL"]),
        ('"1,5"', {}, ["decimal comma"]),
        ("  ", {}, ['NULL to "  "']),
    ],
)
def test_a_number_that_is_meant_as_null(
    app: App, mode: str, way: dict[str, Any], csv: str, options: dict[str, Any], words: list[str]
) -> None:
    app.database.hypertable("t", TABLE)
    rows = f"time,v,note\n2025-01-01 01:00:00Z,1,a\n2025-01-01 02:00:00Z,{csv},b\n"
    error = check(load(app, rows, mode, csv_options=options, **way), "DataRejected", *words)
    assert (error["details"][0]["line"], error["details"][0]["column"]) == (3, "v")


@BOTH
@pytest.mark.parametrize(
    "kind", ["float8", "numeric", "timestamptz", "date", "uuid", "boolean", "inet", "jsonb", "int[]"]
)
def test_null_in_other_types(app: App, mode: str, kind: str) -> None:
    app.database.execute(f'CREATE TABLE {{s}}.t (time timestamptz, "the, value:" {kind})')
    csv = 'time,"the, value:"\n2025-01-01 01:00Z,\\N\n'
    check(load(app, csv, mode), "DataRejected", 'NULL to "\\\\N"')
    if kind != "jsonb":
        check(load(app, csv.replace("\\N", '""'), mode), "DataRejected", 'FORCE_NULL ["the, value:"]')


def test_a_value_that_is_not_a_null_is_repeated_nowhere(app: App) -> None:
    app.database.hypertable("t", TABLE)
    for value in ("private", "-1-", '"\\\\N"', "NULLS"):
        error = check(load(app, f"time,v,note\n2025-01-01 01:00Z,{value},\n"), "DataRejected", "correct the row")
        assert value not in str(error)


@BOTH
@WAYS
@pytest.mark.parametrize("where", ["header", "row"])
def test_a_file_of_windows_names_encoding(app: App, mode: str, way: dict[str, Any], where: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int, grö text)")
    header, row = ("grö", "x") if where == "header" else ("note", "Müller")
    csv = f"time,v,{header}\n2025-01-01 01:00Z,1,{row}\n".encode("cp1252")
    column_map = {} if where == "header" else {"note": "grö"}
    answer = load(app, csv, mode, column_map=column_map, **way)
    check(answer, "HeaderInvalid" if where == "header" else "DataRejected", "ENCODING", "WIN1252")
    assert load(app, csv, mode, column_map=column_map, csv_options={"ENCODING": "WIN1252"}).status == 200


@BOTH
@pytest.mark.parametrize("headerless", [True, False])
@pytest.mark.parametrize(
    ("codec", "name"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")],
)
def test_a_file_of_wide_characters_says_how_to_convert_it(
    app: App, mode: str, codec: str, name: str, *, headerless: bool
) -> None:
    app.database.hypertable("t", TABLE)
    csv = ("" if headerless else "time,v,note\n") + "2025-01-01 01:00Z,1,a\n"
    copy: dict[str, Any] = {"columns": ["time", "v", "note"]} if headerless else {}
    for lines in (0, 1):
        data = ("sep=,\n" * lines + csv).encode(codec)
        for options in ({}, {"ENCODING": "LATIN1"}):
            given: dict[str, Any] = {
                "csv_options": options | ({"HEADER": False} if headerless else {}),
                "skip_lines": lines,
            }
            answer = load(app, data, mode, **copy, **given)
            code = "DataRejected" if headerless else "HeaderInvalid"
            words = (f"is {name}", "PostgreSQL", f"iconv -f {name} -t UTF-8")
            check(answer, code, *words, target="copy.csv_options.ENCODING")


@BOTH
@pytest.mark.parametrize(("delimiter", "shown"), [(";", '";"'), ("\t", '"\\t"'), ("|", '"|"')])
def test_a_wrong_delimiter_is_named(app: App, mode: str, delimiter: str, shown: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = "time,v,note\n2025-01-01 01:00Z,1,a\n".replace(",", delimiter)
    words = (f"DELIMITER to {shown}",)
    for copy in ({}, {"csv_options": {"HEADER": "match"}}, {"column_map": {"v": "note"}}, {"columns": ["time", "v"]}):
        answer = load(app, csv, mode, **copy)
        assert answer.code in {"UnknownColumn", "HeaderMismatch"}
        check(answer, str(answer.code), *words, target="copy.csv_options.DELIMITER")
    names: dict[str, Any] = {"columns": ["time", "v", "note"]}
    headerless = names | {"csv_options": {"HEADER": False}}
    check(load(app, csv.partition("\n")[2], mode, **headerless), "DataRejected", *words)
    check(load(app, csv, mode, header="ignore", **names), "DataRejected", *words)
    assert load(app, csv, mode, csv_options={"DELIMITER": delimiter}).status == 200


@BOTH
@pytest.mark.parametrize("note", [r'"a\"b"', r'"{\"k\": \"a,b\"}"'])
def test_quotes_with_a_backslash_that_are_refused_name_escape(app: App, mode: str, note: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = f"time,v,note\n2025-01-01 01:00Z,1,{note}\n2025-01-01 02:00Z,2,b\n"
    check(load(app, csv, mode), "DataRejected", 'ESCAPE to "\\\\"')
    # A row that is refused for something else has no such hint.
    error = check(load(app, "time,v,note\n2025-01-01 01:00Z,x,a\n", mode), "DataRejected")
    assert "ESCAPE" not in error["hint"]
    assert load(app, csv, mode, csv_options={"ESCAPE": "\\"}).status == 200


def test_a_comma_can_be_a_wrong_delimiter_and_a_single_column_cannot(app: App) -> None:
    app.database.hypertable("t", TABLE)
    answer = load(app, "time,v\n2025-01-01 01:00Z,1\n", csv_options={"DELIMITER": ";"})
    check(answer, "UnknownColumn", 'DELIMITER to ","')
    error = check(load(app, "nix\n1\n"), "UnknownColumn")
    assert "DELIMITER" not in error["hint"]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_excels_separator_line_names_skip_lines(app: App, delimiter: str) -> None:
    app.database.hypertable("t", TABLE)
    csv = "sep=;\r\ntime;v\r\n2025-01-01 01:00Z;1\r\n"
    answer = load(app, csv, csv_options={"DELIMITER": delimiter})
    check(answer, "UnknownColumn" if delimiter == "," else "HeaderInvalid", "skip_lines to 1", "DELIMITER")
    assert load(app, csv, csv_options={"DELIMITER": ";"}, skip_lines=1).status == 200


@BOTH
@WAYS
@pytest.mark.parametrize("hypertable", [True, False])
def test_a_column_that_the_file_lacks_is_named_and_not_a_row(
    app: App, mode: str, way: dict[str, Any], *, hypertable: bool
) -> None:
    columns = TABLE + ", device int NOT NULL"
    if hypertable:
        app.database.hypertable("t", columns)
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({columns})")
    csv = "time,v,dev\n2025-01-01 01:00:00Z,1,7\n2025-01-01 02:00:00Z,1,7\n"
    if mode == "staging":
        error = check(load(app, csv, mode, **way), "DataRejected", '"device"', "column_map", "DEFAULT", target="device")
        assert "correct the row" not in error["hint"]
    left_out: dict[str, Any] = {"column_map": {"dev": None}}
    check(load(app, csv, mode, **left_out, **way), "DataRejected", '"device"', "column_map", "DEFAULT", target="device")
    named = csv.replace("dev", "device")
    out = check(load(app, named, mode, column_map={"device": None}, **way), "DataRejected", "leaves out")
    assert out["target"] == "device"
    # A null that the file has is a row to correct.
    error = check(load(app, named.replace(",7", ",", 1), mode, **way), "DataRejected", "correct the row")
    assert error["details"][0]["line"] == 2
    assert load(app, csv, mode, column_map={"dev": "device"}, **way).status == 200


def test_a_column_that_only_the_target_wants(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int, device int NOT NULL)")
    app.database.execute("CREATE TABLE {s}.loose (time timestamptz, v int)")
    destination = {"mode": "staging", "create_staging_like": f'"{app.database.schema}".loose'}
    answer = app.restore(app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n"), destination=destination)
    check(answer, "DataRejected", '"device"', "column_map", target="device")


@BOTH
def test_a_partition_that_is_missing(app: App, mode: str) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int CHECK (v > 0)) PARTITION BY RANGE (time)")
    app.database.execute("CREATE TABLE {s}.t1 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-02Z') TO ('2025-01-03Z')")
    csv = "time,v\n2025-01-01 01:00Z,1\n"
    error = check(load(app, csv, mode), "DataRejected", "no partition for 2025-01-01", "create the partition")
    assert "correct the row" not in error["hint"]
    url = app.archive("t1", csv.encode())
    check(app.restore(url, destination={"mode": mode}), "DataRejected", "partition", "target_table")
    app.database.execute(
        "CREATE TABLE {s}.t0 PARTITION OF {s}.t FOR VALUES FROM ('2025-01-01Z') TO ('2025-01-01 12:00Z')"
    )
    # Only the rows tell.
    error = check(load(app, csv + "2025-01-01 13:00Z,1\n", mode), "DataRejected", "partition", "create the partition")
    assert error["details"][0]["line"] == 3
    check(load(app, csv.replace("Z,1", "Z,-1"), mode), "DataRejected", "correct the row")
    assert load(app, csv, mode).status == 200


def test_on_error_in_direct_mode_names_its_field(app: App) -> None:
    app.database.hypertable("t", TABLE)
    answer = load(app, "time,v\n", on_error="skip", max_rejected_rows=1)
    error = check(answer, "InvalidRequest", status=400, target="copy.on_error")
    assert [fault["target"] for fault in error["details"]] == ["copy.on_error"]


def test_row_level_security_asks_for_staging_in_direct_mode(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int)")
    app.database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    app.database.execute("CREATE POLICY everything ON {s}.t USING (true)")
    role = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    answer = app.restore(app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n"), pg=role)
    check(answer, "OperationNotSupported", 'mode "staging"')


def asks_for_direct_mode(app: App, reason: str) -> None:
    """Staging refuses the table and says why; direct mode, which the hint names, takes the row."""
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', 7)")
    csv = "time,v\n2025-01-01 01:00Z,1\n"
    error = check(load(app, csv, "staging"), "OperationNotSupported", reason, 'mode "direct"')
    assert 'mode "staging"' not in error["hint"]
    destination = {"mode": "direct", "on_existing": "append"}
    assert app.restore(app.archive("t", csv.encode()), destination=destination).status == 200


def test_a_deferrable_key_asks_for_direct_mode_in_staging(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int UNIQUE DEFERRABLE INITIALLY IMMEDIATE)")
    asks_for_direct_mode(app, "deferrable")


def test_a_rule_asks_for_direct_mode_in_staging(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (time timestamptz, v int UNIQUE); CREATE TABLE {s}.log (v int)")
    app.database.execute("CREATE RULE r AS ON INSERT TO {s}.t DO ALSO INSERT INTO {s}.log VALUES (NEW.v)")
    asks_for_direct_mode(app, "rule")


@pytest.fixture
def publication(app: App) -> Iterator[str]:
    """A publication of the table `t`, once that is there. It belongs to the database, not to the schema."""
    name = f"p{app.database.schema}"
    yield name
    app.database.execute(f"DROP PUBLICATION IF EXISTS {name}")


@BOTH
@pytest.mark.parametrize("hypertable", [True, False])
def test_a_publication_of_deletes_without_replica_identity(
    app: App, publication: str, mode: str, *, hypertable: bool
) -> None:
    if hypertable:
        app.database.hypertable("t", TABLE)
    else:
        app.database.execute(f"CREATE TABLE {{s}}.t ({TABLE})")
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', 7)")
    chunk = app.database.value("SELECT public.show_chunks('{s}.t')::text") if hypertable else "{s}.t"
    # Publishing no truncates, it lets `replace` delete.
    app.database.execute(
        f"CREATE PUBLICATION {publication} FOR TABLE {chunk} WITH (publish = 'insert, update, delete')"
    )
    destination = {"mode": mode, "on_existing": "replace"}
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n")
    error = check(app.restore(url, destination=destination), "OperationNotSupported", "REPLICA IDENTITY", "publication")
    assert 'destination.mode "' not in error["hint"]
    app.database.execute("ALTER TABLE {s}.t REPLICA IDENTITY FULL")
    assert app.restore(url, destination=destination).status == 200


@BOTH
@pytest.mark.parametrize("policy", ["append", "replace"])
@pytest.mark.community
def test_a_frozen_chunk_is_to_be_unfrozen(community_app: App, mode: str, policy: str) -> None:
    app = community_app
    app.database.hypertable("t", TABLE)
    app.database.execute("INSERT INTO {s}.t VALUES ('2025-01-01 00:30Z', 7)")
    chunk = app.database.value("SELECT public.show_chunks('{s}.t')::text")
    app.database.execute(f"SELECT _timescaledb_functions.freeze_chunk('{chunk}')")
    destination = {"mode": mode, "on_existing": policy}
    url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n")
    error = check(
        app.restore(url, destination=destination), "OperationNotSupported", "frozen", f"unfreeze_chunk('{chunk}')"
    )
    assert 'destination.mode "' not in error["hint"]
    app.database.execute(f"SELECT _timescaledb_functions.unfreeze_chunk('{chunk}')")
    assert app.restore(url, destination=destination).status == 200


def test_an_empty_file_and_gzip_of_gzip_say_so(app: App) -> None:
    app.database.hypertable("t", TABLE)
    check(app.restore(app.stored("t", b"")), "ArchiveTruncated", "empty")
    twice = gzip.compress(gzip.compress(b"time,v\n2025-01-01 01:00Z,1\n"))
    check(app.restore(app.stored("t", twice)), "ArchiveCompressedTwice", "twice")


@BOTH
@pytest.mark.parametrize(
    "statement", ["INSERT INTO nowhere VALUES (1)", "PERFORM nothing FROM pg_class", "PERFORM no()"]
)
def test_a_trigger_that_fails_is_not_a_missing_target(app: App, mode: str, statement: str) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute(
        f"CREATE FUNCTION {{s}}.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN new; END $$"
    )
    app.database.execute("CREATE TRIGGER note BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.note()")
    answer = load(app, "time,v\n2025-01-01 01:00Z,1\n2025-01-01 02:00Z,2\n", mode)
    check(answer, "DataRejected", "trigger", "search_path")


@BOTH
@pytest.mark.parametrize("policy", ["append", "replace"])
def test_a_tiered_chunk_is_to_be_brought_back(app: App, mode: str, policy: str) -> None:
    """TimescaleDB knows a tiered chunk by a foreign table, which any wrapper may serve."""
    app.database.hypertable("t", TABLE)
    app.database.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    server = f"tier_{app.database.schema}"
    app.database.execute(
        f"CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port %s, dbname %s)",
        str(app.database.value("SELECT inet_server_port()")),
        app.database.name,
    )
    try:
        app.database.execute(
            f"CREATE USER MAPPING FOR CURRENT_USER SERVER {server} OPTIONS (user %s, password %s)",
            app.database.pg["user"],
            app.database.pg["password"],
        )
        app.database.execute(f"CREATE TABLE {{s}}.far ({TABLE})")
        app.database.execute("INSERT INTO {s}.far VALUES ('2025-01-02 03:00Z', 7)")
        app.database.execute(
            f"CREATE FOREIGN TABLE {{s}}.tier ({TABLE}) SERVER {server} OPTIONS (schema_name %s, table_name 'far')",
            app.database.schema,
        )
        app.database.execute("SELECT _timescaledb_functions.attach_osm_table_chunk('{s}.t', '{s}.tier')")
        app.database.execute(
            "SELECT _timescaledb_functions.hypertable_osm_range_update("
            "'{s}.t', '2025-01-01Z'::timestamptz, '2025-01-03Z'::timestamptz)"
        )
        url = app.archive("t", b"time,v\n2025-01-01 01:00Z,1\n")
        answer = app.restore(url, destination={"mode": mode, "on_existing": policy})
        error = check(answer, "OperationNotSupported", "untier_chunk()")
        assert 'destination.mode "' not in error["hint"]
    finally:
        app.database.execute(f"DROP SERVER {server} CASCADE")
