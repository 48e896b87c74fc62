"""What callers get wrong, and what goes wrong: stable codes, and a target that is unchanged."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from shared.csvfile.source import CopyReader
from tests.integration.fix_app import App
from tools.local_server import free_port
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
def test_a_bad_request(app: App, body: bytes, code: str) -> None:
    answer = app.post(body)
    assert (answer.status, answer.code) == (400, code)
    assert answer.headers["x-ms-error-code"] == code
    assert answer.body["status"] == "error"
    assert answer.body["error"]["retryable"] is False
    assert answer.body["request_id"]


def test_all_faults_at_once(app: App) -> None:
    request = {
        "adls_url": "ftp://x/y",
        "pg": {"prot": 5, "port": 70000},
        "copy": {"csv_options": {"QUOT": "'", "DELIMITER": "ab"}},
        "destination": {"mode": "stagin"},
    }
    error = app.post(request).body["error"]
    assert {(fault["code"], fault["target"]) for fault in error["details"]} == {
        ("InvalidArchiveUrl", "adls_url"),
        ("UnknownField", "pg.prot"),
        ("InvalidValue", "pg.port"),
        ("UnknownField", "copy.csv_options.QUOT"),
        ("InvalidValue", "copy.csv_options.DELIMITER"),
        ("InvalidValue", "destination.mode"),
    }
    assert "did you mean port?" in json.dumps(error)


def test_a_missing_archive(app: App) -> None:
    answer = app.restore(app.storage.url(f"b/{app.database.name}/s.t.2025-01-01.csv.gz"))
    assert (answer.status, answer.code) == (404, "ArchiveNotFound")
    assert answer.body["error"]["target"] == "adls_url"


def test_an_unknown_table_and_an_unknown_column(app: App) -> None:
    answer = app.restore(app.archive("nix", CSV))
    assert (answer.status, answer.code) == (404, "TableNotFound")
    app.database.hypertable("t", TABLE)
    answer = app.restore(app.archive("t", b"time,V,w\n2025-01-01,1,2\n"))
    assert (answer.status, answer.code) == (422, "UnknownColumn")
    assert [fault["target"] for fault in answer.body["error"]["details"]] == ["V", "w"]
    assert 'did you mean "v"?' in answer.body["error"]["details"][0]["message"]


def test_a_view_is_not_a_target(app: App) -> None:
    app.database.execute("CREATE VIEW {s}.seen AS SELECT 1 AS v")
    assert app.restore(app.archive("seen", b"v\n1\n")).code == "TargetNotATable"


@pytest.mark.parametrize("mode", ["direct", "staging"])
def test_a_bad_row_in_the_middle_leaves_no_row(app: App, mode: str) -> None:
    app.database.hypertable("t", TABLE, interval="interval '1 hour'")
    rows = [f"2025-01-01 {n // 60:02}:{n % 60:02}Z,{n}" for n in range(1440)]
    rows[700] = "2025-01-01 11:40Z,oops"
    answer = app.restore(app.archive("t", "\n".join(["time,v", *rows]).encode()), destination={"mode": mode})
    assert (answer.status, answer.code) == (422, "DataRejected")
    fault = answer.body["error"]["details"][0]
    assert (fault["line"], fault["column"], fault["sqlstate"]) == (702, "v", "22P02")
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0
    assert app.database.fetch("SELECT public.show_chunks('{s}.t')") == []


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
def test_rows_that_postgresql_refuses(app: App, csv: bytes, sqlstate: str, line: int) -> None:
    app.database.hypertable("t", TABLE)
    answer = app.restore(app.archive("t", csv))
    assert (answer.status, answer.code) == (422, "DataRejected")
    fault = answer.body["error"]["details"][0]
    assert (fault["sqlstate"], fault["line"]) == (sqlstate, line)
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_trigger_that_refuses(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute(
        "CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not on line 99'; END $$"
    )
    app.database.execute("CREATE TRIGGER refuse BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.refuse()")
    answer = app.restore(app.archive("t", CSV))
    assert (answer.code, answer.body["error"]["details"][0]["line"]) == ("DataRejected", 2)


def test_line_and_column_where_names_hold_digits(app: App) -> None:
    app.database.execute('CREATE TABLE {s}."line 7 t2024" ("v, column 9: x" int, "v" int)')
    answer = app.restore(app.archive("line 7 t2024", b'"v, column 9: x",v\n1,1\noops,1\n'))
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
    app: App, change: dict[str, Any], status: int, code: str, retryable: bool
) -> None:
    role = app.database.role()
    change = {"port": free_port()} if change == {"port": None} else change
    if "password" in change and not app.database.pg["password"]:
        pytest.skip("this server asks for no password")
    answer = app.restore(app.archive("t", CSV), pg=role | change)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.body["error"]["retryable"] is retryable
    assert "only-for-tests" not in json.dumps(answer.body)


def test_a_password_that_is_missing(app: App) -> None:
    if not app.database.pg["password"]:
        pytest.skip("this server asks for no password")
    role = app.database.role()
    answer = app.restore(app.archive("t", CSV), pg=role | {"password": None})
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")


def test_a_role_without_rights(app: App) -> None:
    app.database.hypertable("t", TABLE)
    url = app.archive("t", CSV)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}")
    assert (app.restore(url, pg=role).status, app.restore(url, pg=role).code) == (403, "DatabasePermissionDenied")
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    # Staging makes a table in the target's schema.
    assert app.restore(url, pg=role, destination={"mode": "staging"}).code == "DatabasePermissionDenied"
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


def test_a_chunk_by_its_own_name(app: App) -> None:
    """In a schema of its own, where it looks like any table: the day's lock would be bypassed."""
    app.database.execute("CREATE TABLE {s}.t (" + TABLE + ")")
    app.database.execute(
        "SELECT public.create_hypertable('{s}.t', 'time', associated_schema_name => %s,"
        " associated_table_prefix => 'piece')",
        app.database.schema,
    )
    assert app.restore(app.archive("t", CSV)).status == 200
    chunk = app.database.value(
        "SELECT chunk_name FROM timescaledb_information.chunks WHERE chunk_schema = %s", app.database.schema
    )
    answer = app.restore(app.archive(chunk, CSV))
    assert (answer.status, answer.code) == (422, "TargetNotATable")
    assert answer.body["error"]["hint"] == "name the hypertable"


def test_a_server_that_sends_where_it_should_take_fills_no_file(app: App) -> None:
    """COPY TO in answer to a COPY FROM: psycopg2 would write into whatever can be written."""
    reader = CopyReader(iter([b"1\n"]))
    with (
        app.database.connection.cursor() as cursor,
        pytest.raises(NotImplementedError),
    ):
        cursor.copy_expert("COPY (SELECT 2) TO STDOUT", reader)
    assert reader.read() == b"1\n"


@pytest.mark.parametrize(
    ("statement", "who"),
    [
        ("ALTER ROLE {role}", "ALTER ROLE ... RESET"),
        ("ALTER ROLE {role} IN DATABASE {database}", "ALTER ROLE ... IN DATABASE ... RESET"),
        ("ALTER DATABASE {database}", "ALTER DATABASE ... RESET"),
    ],
)
def test_a_read_only_role_or_database(app: App, statement: str, who: str) -> None:
    """The server is as it was: it takes the rows of others, and its disk is not full."""
    app.database.hypertable("t", TABLE)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    setting = statement.format(role=role["user"], database=app.database.name)
    app.database.execute(f"{setting} SET default_transaction_read_only = on")
    try:
        answer = app.restore(app.archive("t", CSV), pg=role)
    finally:
        app.database.execute(f"SET default_transaction_read_only = off; {setting} RESET default_transaction_read_only")
        app.database.execute("RESET default_transaction_read_only")
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly")
    assert answer.body["error"]["hint"].startswith(who)


def test_a_read_only_connection(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.database.hypertable("t", TABLE)
    monkeypatch.setenv("PGHOST", app.database.pg["host"])
    monkeypatch.setenv("PGPORT", str(app.database.pg["port"]))
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    answer = app.restore(app.archive("t", CSV))
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly")
    assert "PGOPTIONS" in answer.body["error"]["hint"]


def test_a_server_that_turns_read_only_on_the_way(app: App) -> None:
    """The look has found nothing; what the trigger does is the server's own error, and is explained afterwards."""
    app.database.hypertable("t", TABLE)
    app.database.execute(
        "CREATE FUNCTION {s}.turn() RETURNS trigger LANGUAGE plpgsql AS"
        ' $$ BEGIN SET LOCAL transaction_read_only = on; DELETE FROM "' + app.database.schema + '".t;'
        " RETURN NEW; END $$"
    )
    app.database.execute("CREATE TRIGGER turn BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.turn()")
    answer = app.restore(app.archive("t", CSV))
    assert (answer.status, answer.code) == (409, "DatabaseReadOnly"), answer.body
    assert answer.body["error"]["details"][0]["sqlstate"] == "25006"


def test_a_trigger_that_raises_a_sqlstate_of_its_own(app: App) -> None:
    app.database.execute("CREATE TABLE {s}.t (v int)")
    app.database.execute(
        "CREATE FUNCTION {s}.odd() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = 'odd'; END $$"
    )
    app.database.execute("CREATE TRIGGER odd BEFORE INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.odd()")
    answer = app.restore(app.archive("t", b"v\n1\n"))
    assert (answer.status, answer.code) == (422, "DataRejected")
    assert answer.body["error"]["details"][0]["sqlstate"] == "ZZ001"


@pytest.mark.parametrize("off", [True, False])
def test_the_final_commit_waits_for_the_disk(app: App, off: bool) -> None:
    """A deferred trigger runs at COMMIT and sees what the COMMIT will do."""
    app.database.execute("CREATE TABLE {s}.t (v int)")
    app.database.execute("CREATE TABLE {s}.seen (early text, late text)")
    for when in ("early", "late"):
        app.database.execute(
            "CREATE FUNCTION {s}." + when + "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN"
            " INSERT INTO {s}.seen (" + when + ") VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$"
        )
    app.database.execute("CREATE TRIGGER a AFTER INSERT ON {s}.t FOR EACH ROW EXECUTE FUNCTION {s}.early()")
    app.database.execute(
        "CREATE CONSTRAINT TRIGGER b AFTER INSERT ON {s}.t DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION {s}.late()"
    )
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT ALL ON {s}.t")
    app.database.execute(f"ALTER ROLE {role['user']} SET synchronous_commit = {'off' if off else 'local'}")
    assert app.restore(app.archive("t", b"v\n1\n"), pg=role).status == 200
    expected = "on" if off else "local"
    assert app.database.fetch("SELECT max(early), max(late) FROM {s}.seen") == [("off", expected)]


def test_no_connection_and_no_transaction_is_left(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_IDLE_SESSION_SECONDS", "0")
    app.database.hypertable("t", TABLE)
    for csv in (CSV, CSV, b"time,v\noops,1\n"):
        app.restore(app.archive("t", csv))
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'restore-chunk%%' AND datname = %s"
    # A backend takes a moment to end after its client has gone.
    assert wait_until(lambda: app.database.value(count, app.database.name) == 0, 5), "a connection is left"


def test_one_log_line_with_everything_and_no_secret(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.database.hypertable("t", TABLE)
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.t")
    caplog.set_level("INFO")
    body = app.restore(app.archive("t", CSV), pg=role).body
    line = caplog.records[-1]
    assert line.levelname == "INFO"
    names = [record.getMessage().partition(" ")[0] for record in caplog.records if record.name == "restore_chunk"]
    assert names == ["restore-start", "restore"]
    for fact in (
        f"request_id={body['request_id']}",
        "outcome=ok",
        f"archive={body['source']['path']}",
        f"target={app.database.schema}.t",
        "rows_read=2",
        "rows_loaded=2",
        f"compressed_bytes={body['source']['compressed_bytes']}",
        f"csv_bytes={len(CSV)}",
        "copy_s=",
        "total_s=",
    ):
        assert fact in line.getMessage()
    app.restore(app.archive("t", b"time,v\nx,1\n"), pg=role, destination={"on_existing": "append"})
    line = caplog.records[-1]
    assert line.levelname == "WARNING"
    assert "outcome=DataRejected" in line.getMessage()
    assert "failed_in=copy" in line.getMessage()
    monkeypatch.setenv("SPOOL_MAX_MEMORY_BYTES", "much")
    assert app.restore(app.archive("t", CSV), pg=role).code == "InvalidConfiguration"
    assert caplog.records[-1].levelname == "ERROR"
    assert "only-for-tests" not in caplog.text
    assert "AccountKey" not in caplog.text


def test_copy_where_row_level_security_holds(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute("CREATE TABLE {s}.guarded (time timestamptz, v int)")
    app.database.execute("ALTER TABLE {s}.guarded ENABLE ROW LEVEL SECURITY")
    app.database.execute("CREATE POLICY everything ON {s}.guarded USING (true)")
    role = app.database.role("GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT ON {s}.guarded")
    answer = app.restore(app.archive("guarded", CSV), pg=role)
    assert (answer.status, answer.code) == (422, "OperationNotSupported")
    assert app.restore(app.archive("guarded", CSV), pg=role, destination={"mode": "staging"}).status == 200


def test_the_answer_names_the_database_that_was_used(app: App) -> None:
    app.database.hypertable("t", TABLE)
    pg = app.database.pg
    url = app.storage.put(f"b/elsewhere/{app.database.schema}.t.2025-01-01.csv.gz", gzip.compress(CSV))
    uri = f"postgresql://{pg['user']}:{pg['password'] or ''}@{pg['host']}:{pg['port']}/{app.database.name}"
    assert app.restore(url, pg={"connection_uri": uri}).body["database"] == app.database.name


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("connect_timeout=3", 503, "DatabaseUnreachable"),
        ("connect_timeout=abc", 503, "DatabaseUnreachable"),
        ("options=-c%20timezone%3DUTC%20-c%20work_mem%3Dx", 400, "ConnectionOptionRejected"),
    ],
)
def test_parameters_of_a_connection_uri(app: App, query: str, status: int, code: str) -> None:
    pg = app.database.pg
    port = pg["port"] if status == 400 else free_port()
    uri = f"postgresql://{pg['user']}:{pg['password'] or ''}@{pg['host']}:{port}/{app.database.name}?{query}"
    answer = app.restore(app.archive("t", CSV), pg={"connection_uri": uri})
    assert (answer.status, answer.code) == (status, code)


def test_a_password_with_an_unescaped_at_is_repeated_nowhere(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    answer = app.restore(app.archive("t", CSV), pg={"connection_uri": "postgresql://u:S3cret@Pa55word@127.0.0.1/d"})
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "Pa55word" not in json.dumps(answer.body) + caplog.text


def test_json_that_is_nested_deeply(app: App) -> None:
    for depth in (500, 1500, 5000, 100_000):
        assert app.post(b'{"adls_url": ' + b"[" * depth + b"]" * depth + b"}").status == 400


def test_staging_like_a_table_of_other_types(app: App) -> None:
    app.database.hypertable("t", TABLE)
    app.database.execute("CREATE TABLE {s}.texts (time text, v text)")
    destination = {"mode": "staging", "create_staging_like": f"{app.database.schema}.texts"}
    answer = app.restore(app.archive("t", CSV), destination=destination)
    assert (answer.status, answer.code) == (422, "StagingTypeMismatch")
