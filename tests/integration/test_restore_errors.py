"""What callers get wrong, and what goes wrong: stable codes, and a target that is as it was before."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from shared.csv_source import CopyReader
from tests.integration.fix_host import free_port
from tests.integration.fix_site import Site
from tools.process import wait_until

CSV = b"time,v\n2025-01-01 00:00Z,1\n2025-01-01 01:00Z,2\n"
TABLE = "time timestamptz NOT NULL, v int, PRIMARY KEY (time)"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidJson"),
        (b"[]", "InvalidJson"),
        (b'{"adls_url": "x"', "InvalidJson"),
        (b"\xff\xfe\x00", "InvalidJson"),
        (b"{}", "InvalidRequest"),
        (b'{"adls_url": 5}', "InvalidRequest"),
        (b'{"adls_url": "x", "extra": 1}', "InvalidRequest"),
        (b'{"adls_url": "x"}', "InvalidArchiveUrl"),
        (b'{"adls_url": "https://evil.example/fs/db/s.t.2025-01-01.csv.gz"}', "StorageHostNotAllowed"),
        (b'{"adls_url": "abfss://archive@a1b.dfs.core.windows.net/d/s.t.2025-02-30.csv.gz"}', "InvalidArchiveUrl"),
    ],
)
def test_a_bad_request(site: Site, body: bytes, code: str) -> None:
    answer = site.post(body)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["x-ms-error-code"] == code
    assert answer.body["status"] == "error"
    assert answer.body["error"]["retryable"] is False
    assert answer.body["request_id"]


def test_all_faults_at_once(site: Site) -> None:
    request = {
        "adls_url": "ftp://x/y",
        "pg": {"prot": 5, "port": 70000},
        "copy": {"csv_options": {"QUOT": "'", "DELIMITER": "ab"}},
        "destination": {"mode": "stagin"},
    }
    error = site.post(request).body["error"]
    assert {(fault["code"], fault["target"]) for fault in error["details"]} == {
        ("InvalidArchiveUrl", "adls_url"),
        ("UnknownField", "pg.prot"),
        ("InvalidValue", "pg.port"),
        ("UnknownField", "copy.csv_options.QUOT"),
        ("InvalidValue", "copy.csv_options.DELIMITER"),
        ("InvalidValue", "destination.mode"),
    }
    assert "did you mean port?" in json.dumps(error)


def test_a_missing_archive(site: Site) -> None:
    answer = site.restore(site.storage.url("b/db/s.t.2025-01-01.csv.gz"))
    assert (answer.status, answer.code) == (404, "ArchiveNotFound")
    assert answer.body["error"]["target"] == "adls_url"


def test_an_unknown_table_and_an_unknown_column(site: Site) -> None:
    answer = site.restore(site.archive("nix", CSV))
    assert (answer.status, answer.code) == (404, "TableNotFound")
    site.database.hypertable("t", TABLE)
    answer = site.restore(site.archive("t", b"time,V,w\n2025-01-01,1,2\n"))
    assert (answer.status, answer.code) == (422, "UnknownColumn")
    assert [fault["target"] for fault in answer.body["error"]["details"]] == ["V", "w"]
    assert 'did you mean "v"?' in answer.body["error"]["details"][0]["message"]


def test_a_view_is_no_target(site: Site) -> None:
    site.database.execute("CREATE VIEW {s}.seen AS SELECT 1 AS v")
    assert site.restore(site.archive("seen", b"v\n1\n")).code == "TargetNotATable"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_bad_row_in_the_middle_leaves_no_row(site: Site, mode: str) -> None:
    site.database.hypertable("t", TABLE, interval="interval '1 hour'")
    rows = [f"2025-01-01 {n // 60:02}:{n % 60:02}Z,{n}" for n in range(1440)]
    rows[700] = "2025-01-01 11:40Z,oops"
    answer = site.restore(site.archive("t", "\n".join(["time,v", *rows]).encode()), destination={"mode": mode})
    assert (answer.status, answer.code) == (422, "DataRejected")
    fault = answer.body["error"]["details"][0]
    assert (fault["line"], fault["column"], fault["sqlstate"]) == (702, "v", "22P02")
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0
    assert site.database.fetch("SELECT public.show_chunks('{s}.t')") == []


@pytest.mark.parametrize(
    ("csv", "sqlstate", "line"),
    [
        (b"time,v\n2025-01-01,1\n2025-01-01,2\n", "23505", 3),
        (b"time,v\n2025-01-01,1\n,2\n", "23502", 3),
        (b"time,v\n2025-01-01,1\n2025-01-02,2,3\n", "22P04", 3),
        (b"time,v\n2025-01-01,1\n2025-01-02\n", "22P04", 3),
        (b'time,v\n2025-01-01,1\n"2025-01-02,2\n', "22P04", 4),
        (b"time,v\n2025-01-01,\xff\n", "22021", 2),
        (b"time,v\n2025-01-01,99999999999\n", "22003", 2),
        (b"time,v\n2025-13-01,1\n", "22008", 2),
    ],
)
def test_rows_that_postgresql_refuses(site: Site, csv: bytes, sqlstate: str, line: int) -> None:
    site.database.hypertable("t", TABLE)
    answer = site.restore(site.archive("t", csv))
    assert (answer.status, answer.code) == (422, "DataRejected")
    fault = answer.body["error"]["details"][0]
    assert (fault["sqlstate"], fault["line"]) == (sqlstate, line)
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_trigger_that_refuses(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    site.database.execute(
        "CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not on line 99'; END $$"
    )
    site.database.execute("CREATE TRIGGER refuse BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.refuse()")
    answer = site.restore(site.archive("t", CSV))
    assert (answer.code, answer.body["error"]["details"][0]["line"]) == ("DataRejected", 2)


def test_line_and_column_where_names_hold_digits(site: Site) -> None:
    site.database.execute('CREATE TABLE {s}."line 7 t2024" ("v, column 9: x" int, "v" int)')
    answer = site.restore(site.archive("line 7 t2024", b'"v, column 9: x",v\n1,1\noops,1\n'))
    fault = answer.body["error"]["details"][0]
    assert (fault["line"], fault["column"]) == (3, "v, column 9: x")


@pytest.mark.parametrize(
    ("change", "status", "code", "retryable"),
    [
        ({"password": "wrong"}, 403, "DatabaseAccessDenied", False),
        ({"user": "nobody_such"}, 403, "DatabaseAccessDenied", False),
        ({"database": "no_such_database"}, 404, "DatabaseNotFound", False),
        ({"port": None}, 503, "DatabaseUnreachable", True),
        ({"host": "no-such-host.invalid", "sslmode": "require"}, 503, "DatabaseUnreachable", True),
        ({"sslmode": "verify-full"}, 503, "DatabaseUnreachable", True),
    ],
)
def test_a_database_that_does_not_let_us_in(
    site: Site, change: dict[str, Any], status: int, code: str, retryable: bool
) -> None:
    role = site.database.role()
    change = {"port": free_port()} if change == {"port": None} else change
    if "password" in change and not site.database.pg["password"]:
        pytest.skip("this server asks for no password")
    answer = site.restore(site.archive("t", CSV), pg=role | change)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.body["error"]["retryable"] is retryable
    assert "only-for-tests" not in json.dumps(answer.body)


def test_a_password_that_is_missing(site: Site) -> None:
    if not site.database.pg["password"]:
        pytest.skip("this server asks for no password")
    role = site.database.role()
    answer = site.restore(site.archive("t", CSV), pg=role | {"password": None})
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")


def test_a_role_without_rights(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    url = site.archive("t", CSV)
    role = site.database.role("GRANT USAGE ON SCHEMA {s}")
    assert (site.restore(url, pg=role).status, site.restore(url, pg=role).code) == (403, "DatabasePermissionDenied")
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    # Staging makes a table in the target's schema.
    assert site.restore(url, pg=role, destination={"mode": "staging"}).code == "DatabasePermissionDenied"
    assert site.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_chunk_by_its_own_name(site: Site) -> None:
    """In a schema of its own, where it looks like any table: the day's guard would be missed."""
    site.database.execute("CREATE TABLE {s}.t (" + TABLE + ")")
    site.database.execute(
        "SELECT public.create_hypertable('{s}.t', 'time', associated_schema_name => %s,"
        " associated_table_prefix => 'piece')",
        site.database.schema,
    )
    assert site.restore(site.archive("t", CSV)).status == 200
    chunk = site.database.value(
        "SELECT chunk_name FROM timescaledb_information.chunks WHERE chunk_schema = %s", site.database.schema
    )
    answer = site.restore(site.archive(chunk, CSV))
    assert (answer.status, answer.code) == (422, "TargetNotATable")
    assert answer.body["error"]["hint"] == "name the hypertable"


def test_a_server_that_sends_where_it_should_take_fills_no_file(site: Site) -> None:
    """COPY TO in answer to a COPY FROM: psycopg2 would write into whatever can be written."""
    reader = CopyReader(iter([b"1\n"]))
    with (
        site.database.connection.cursor() as cursor,
        pytest.raises(NotImplementedError),
    ):
        cursor.copy_expert("COPY (SELECT 2) TO STDOUT", reader)
    assert reader.read() == b"1\n"


def test_a_read_only_role(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    site.database.execute(f"ALTER ROLE {role['user']} SET default_transaction_read_only = on")
    answer = site.restore(site.archive("t", CSV), pg=role)
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly")


def test_a_trigger_that_raises_a_sqlstate_of_its_own(site: Site) -> None:
    site.database.execute("CREATE TABLE {s}.t (v int)")
    site.database.execute(
        "CREATE FUNCTION {s}.odd() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = 'odd'; END $$"
    )
    site.database.execute("CREATE TRIGGER odd BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.odd()")
    answer = site.restore(site.archive("t", b"v\n1\n"))
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert answer.body["error"]["details"][0]["sqlstate"] == "ZZ001"


@pytest.mark.parametrize("off", [True, False])
def test_the_final_commit_waits_for_the_disk(site: Site, off: bool) -> None:
    """A deferred trigger runs at COMMIT and sees what the COMMIT will do."""
    site.database.execute("CREATE TABLE {s}.t (v int)")
    site.database.execute("CREATE TABLE {s}.seen (early text, late text)")
    for when in ("early", "late"):
        site.database.execute(
            "CREATE FUNCTION {s}." + when + "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
            " INSERT INTO {s}.seen (" + when + ") VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$"
        )
    site.database.execute("CREATE TRIGGER a AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.early()")
    site.database.execute(
        "CREATE CONSTRAINT TRIGGER b AFTER INSERT ON {s}.t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION {s}.late()"
    )
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT ALL ON {s}.t")
    site.database.execute(f"ALTER ROLE {role['user']} SET synchronous_commit = {'off' if off else 'local'}")
    assert site.restore(site.archive("t", b"v\n1\n"), pg=role).status == 200
    expected = "on" if off else "local"
    assert site.database.fetch("SELECT max(early), max(late) FROM {s}.seen") == [("off", expected)]


def test_no_connection_and_no_transaction_is_left(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    for csv in (CSV, CSV, b"time,v\noops,1\n"):
        site.restore(site.archive("t", csv))
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'restore-chunk%%' AND datname = %s"
    # A backend takes a moment to end after its client has gone.
    assert wait_until(lambda: site.database.value(count, site.database.name) == 0, 5), "a connection is left"


def test_one_log_line_with_everything_and_no_secret(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.database.hypertable("t", TABLE)
    role = site.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    caplog.set_level("INFO")
    body = site.restore(site.archive("t", CSV), pg=role).body
    line = caplog.records[-1]
    assert line.levelname == "INFO"
    assert len([record for record in caplog.records if record.name == "restore_chunk"]) == 1
    for fact in (
        f"request_id={body['request_id']}",
        "outcome=ok",
        f"archive={body['source']['path']}",
        f"target={site.database.schema}.t",
        "rows=2",
        f"compressed_bytes={body['source']['compressed_bytes']}",
        f"csv_bytes={len(CSV)}",
        "copy_s=",
        "total_s=",
    ):
        assert fact in line.getMessage()
    site.restore(site.archive("t", b"time,v\nx,1\n"), pg=role, destination={"on_existing": "append"})
    line = caplog.records[-1]
    assert line.levelname == "WARNING"
    assert "outcome=DataRejected" in line.getMessage()
    assert "failed_in=copy" in line.getMessage()
    monkeypatch.setenv("SPOOL_MAX_MEMORY_BYTES", "much")
    assert site.restore(site.archive("t", CSV), pg=role).code == "InvalidConfiguration"
    assert caplog.records[-1].levelname == "ERROR"
    assert "only-for-tests" not in caplog.text
    assert "AccountKey" not in caplog.text


def test_copy_where_row_level_security_holds(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    site.database.execute("CREATE TABLE {s}.guarded (time timestamptz, v int)")
    site.database.execute("ALTER TABLE {s}.guarded ENABLE ROW LEVEL SECURITY")
    site.database.execute("CREATE POLICY everything ON {s}.guarded USING (true)")
    role = site.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.guarded")
    answer = site.restore(site.archive("guarded", CSV), pg=role)
    assert (answer.status, answer.code) == (422, "OperationNotSupported")
    assert site.restore(site.archive("guarded", CSV), pg=role, destination={"mode": "staging"}).status == 200


def test_the_answer_names_the_database_that_was_used(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    pg = site.database.pg
    url = site.storage.put(f"b/elsewhere/{site.database.schema}.t.2025-01-01.csv.gz", gzip.compress(CSV))
    uri = f"postgresql://{pg['user']}:{pg['password'] or ''}@{pg['host']}:{pg['port']}/{site.database.name}"
    assert site.restore(url, pg={"connection_uri": uri}).body["database"] == site.database.name


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("connect_timeout=3", 503, "DatabaseUnreachable"),
        ("connect_timeout=abc", 503, "DatabaseUnreachable"),
        ("options=-c%20timezone%3DUTC%20-c%20work_mem%3Dx", 400, "ConnectionOptionRejected"),
    ],
)
def test_parameters_of_a_connection_uri(site: Site, query: str, status: int, code: str) -> None:
    pg = site.database.pg
    port = pg["port"] if status == 400 else free_port()
    uri = f"postgresql://{pg['user']}:{pg['password'] or ''}@{pg['host']}:{port}/{site.database.name}?{query}"
    answer = site.restore(site.archive("t", CSV), pg={"connection_uri": uri})
    assert (answer.status, answer.code) == (status, code)


def test_a_password_with_an_unescaped_at_is_repeated_nowhere(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    answer = site.restore(site.archive("t", CSV), pg={"connection_uri": "postgresql://u:S3cret@Pa55word@127.0.0.1/d"})
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "Pa55word" not in json.dumps(answer.body) + caplog.text


def test_json_that_is_nested_deeply(site: Site) -> None:
    for depth in (500, 1500, 5000, 100_000):
        assert site.post(b'{"adls_url": ' + b"[" * depth + b"]" * depth + b"}").status == 400


def test_staging_like_a_table_of_other_types(site: Site) -> None:
    site.database.hypertable("t", TABLE)
    site.database.execute("CREATE TABLE {s}.texts (time text, v text)")
    destination = {"mode": "staging", "create_staging_like": f"{site.database.schema}.texts"}
    answer = site.restore(site.archive("t", CSV), destination=destination)
    assert (answer.status, answer.code) == (422, "StagingTypeMismatch")
