"""Canary secrets in every place of a request and of the settings, through every success and every failure.

Whatever the function says is searched for them: the answer and its headers, the log of every logger at DEBUG (those of
the SDK, of urllib3 and of msal too), tracebacks, standard output and error, the spans and metrics of OpenTelemetry, and
what objects say of themselves.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import pytest

from shared.api.call import HttpCall
from shared.arrivals.arrive import archive_arrived
from shared.backfills.http import backfills
from shared.backfills.http import result as backfill_result
from shared.backfills.worker import dispatch_message
from shared.calendar.http import get_days
from shared.health.http import get_details
from shared.jobs.http import get_restores, get_result, post_restore
from shared.jobs.message import UnreadableMessageError
from shared.jobs.sweep import end_poisoned
from tests.faults.fix_jobs import call_of
from tests.fix_errors import errors
from tests.integration.fix_app import DAY, App
from tests.integration.fix_canary import CANARIES, GOOD, HEADER, Watch, day_of, make_role, signed
from tests.integration.fix_identity import ManagedIdentity
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

# Not to be had in a second from here; tests/faults drives them, and their messages hold what these hold.
ELSEWHERE = {
    "DatabaseStorageFull",
    "ChunkInconsistent",
    "DaysFailed",
    "JobStorageUnreachable",
    "KeyNotEnforced",
    "OperationEnded",
    "OperationNotEnded",
    "OperationIdReused",
    "OperationNotFound",
    "ReferencedRows",
    "SecretInAsyncRequest",
    "TooManyAttempts",
    "ArchiveBeingCopied",
    "ArchiveBeingRehydrated",
    "ArchiveChanged",
    "ArchiveNotReadable",
    "ArchiveOtherVersion",
    "CaggNotFound",
    "CommitOutcomeUnknown",
    "ReplacementTooSmall",
    "RestoreCanceled",
    "CsvOptionRejected",
    "DatabaseDiskFull",
    "DatabaseFailed",
    "OnErrorNotSupported",
    "RestoreInProgress",
    "TemporaryDiskFull",
}


@pytest.fixture
def pg(app: App) -> dict[str, Any]:
    return make_role(app)


def refused(pg: dict[str, Any]) -> Iterator[tuple[Any, str, dict[str, str]]]:
    """Requests that are refused before anything is connected to, and the code of each."""
    url = "abfss://archive@account.dfs.core.windows.net/b/d/s.t.2025-01-01.csv.gz"
    uri = f"postgresql://u:{CANARIES['uri']}@db.example/d"
    key = f"DefaultEndpointsProtocol=https;AccountName=other;AccountKey={CANARIES['key']}"

    def says(code: str, change: dict[str, Any] | None = None, **settings: str) -> tuple[Any, str, dict[str, str]]:
        return {"adls_url": url, "pg": pg} | (change or {}), code, settings

    yield json.dumps({"pg": pg}).encode()[:-1], "InvalidJson", {}
    yield b'{"a": "canary-\xff-Zq8"}', "InvalidJson", {}
    yield json.dumps([CANARIES["field"]]).encode(), "InvalidJson", {}
    yield b'{"pg": 1, "pg": "canary-Zq8"}', "InvalidJson", {}
    yield says("RequestTooLarge", {"pg": {"password": CANARIES["password"] * 100_000}})
    for faulty in (
        {"password": {"a": CANARIES["field"]}},
        {"password": [CANARIES["field"]]},
        {"password": CANARIES["password"] + "\0"},
        {"port": CANARIES["field"]},
        {"sslmode": CANARIES["field"]},
        {"auth": CANARIES["field"]},
        {"auth": "entra", "password": CANARIES["password"]},
        {"host": f"u:{CANARIES['host']}@db.example"},
        {"host": f"postgresql://u:{CANARIES['host']}@db.example/d"},
        {"connection_uri": uri, "password": CANARIES["password"]},
        {"connection_uri": f"{uri}?sslkey={CANARIES['query']}&sslpassword={CANARIES['query']}"},
        {"connection_uri": f"{uri}?options=-c%20role%3D{CANARIES['query']}"},
        {"connection_uri": f"{uri}?{CANARIES['query']}=1"},
        {"connection_uri": f"postgresql://u:p@{CANARIES['query']}@db.example/d"},
        {"connection_uri": f"postgresql://u:%zz{CANARIES['query']}@db.example/d"},
        {"connection_uri": f"host=h password={CANARIES['query']}"},
        {"database": CANARIES["field"] * 9},
    ):
        yield says("InvalidRequest", {"pg": faulty})
    for elsewhere in ("destination", "timescaledb", "copy"):
        yield says("InvalidRequest", {elsewhere: CANARIES["field"]})
    yield says("InvalidRequest", {"copy": {"expected_sha256": CANARIES["field"], "csv_options": CANARIES["field"]}})
    for lake, code in (
        (f"{url}#{CANARIES['fragment']}", "InvalidArchiveUrl"),
        (f"{url}?sig={CANARIES['signature']}", "InvalidArchiveUrl"),
        (f"{url}?sv=2024-11-04&sig={CANARIES['signature']}&comp={CANARIES['query']}", "InvalidArchiveUrl"),
        (f"ftp://u:{CANARIES['userinfo']}@account.dfs.core.windows.net/fs1/d/s.t.{DAY}.csv.gz", "InvalidArchiveUrl"),
        (f"https://u:{CANARIES['userinfo']}@account.dfs.core.windows.net/fs1/x", "StorageHostNotAllowed"),
        (f"abfss://u:{CANARIES['userinfo']}@account.dfs.core.windows.net/x", "InvalidArchiveUrl"),
        (f"https://{CANARIES['host']}.evil.example/fs1/x?sig={CANARIES['signature']}", "InvalidArchiveUrl"),
        (f"https://{CANARIES['host']}.evil.example/fs1/x", "StorageHostNotAllowed"),
    ):
        yield says(code, {"adls_url": lake})
    own = {"pg": {"connection_uri": uri}}
    sas = {"adls_url": f"{url}?sv=2024-11-04&sp=r&sig={CANARIES['signature']}"}
    yield says("StorageAccountNotAllowed", own | sas, ADLS_ALLOWED_ACCOUNTS="other")
    yield says("DatabaseHostNotAllowed", own | sas, PG_ALLOWED_HOSTS="other.example")
    yield says("DatabaseNotAllowed", own | sas, PG_ALLOWED_DATABASES="other")
    yield says("DatabaseUserNotAllowed", {"pg": {"user": "other"}} | sas)
    yield says("TargetNotAllowed", own | sas, ALLOWED_TARGETS="other.*")
    yield says("SslModeNotAllowed", {"pg": {"connection_uri": f"{uri}?sslmode=disable"}} | sas)
    for name in ("PG_AUTH", "PG_LOCK_TIMEOUT_SECONDS", "SHOW_ROW_DATA", "PGSSLMODE", "PGSERVICE", "CSV_MAX_BYTES"):
        yield says("InvalidConfiguration", {"pg": {}}, **{name: CANARIES["setting"]})
    yield says("InvalidConfiguration", {"pg": {}}, PGHOST=f"u:{CANARIES['setting']}@h")
    for broken in (f"AccountKey={CANARIES['setting']}", CANARIES["setting"], key + "%%"):
        yield says("InvalidConfiguration", {}, ADLS_CONNECTION_STRING=broken)


def test_requests_that_are_refused_at_once(watch: Watch, pg: dict[str, Any]) -> None:
    for body, code, settings in refused(pg | {"database": "postgres"}):
        assert watch.send(body, **settings) == code, body


def _uri(app: App, pg: dict[str, Any]) -> str:
    who = f"{pg['user']}:{pg['password']}@{pg['host']}:{pg['port']}"
    return f"postgresql://{who}/{app.database.name}?sslmode=prefer"


def restores(watch: Watch, pg: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Requests that reach storage or the server, and what comes of each."""
    app, row = watch.app, CANARIES["row"].encode()
    bad = HEADER + b"2025-01-01 00:00:00+00," + row + b",1\n"

    day = partial(day_of, app, pg)

    def stored(table: str, data: bytes, **request: Any) -> dict[str, Any]:
        return {"adls_url": signed(app, app.stored(table, data)), "pg": pg} | request

    uri = _uri(app, pg)
    watch.table("t")
    yield day("t", bad), "ok"
    yield day("t", bad), "WindowNotEmpty"
    yield day("t", bad, destination={"on_existing": "skip"}), "skipped"
    yield day("t", bad, destination={"on_existing": "replace"}), "ok"
    yield day("t", bad, destination={"mode": "staging"}), "ok"
    yield day("t", bad, destination={"on_existing": "append"}), "DataRejected"
    yield day("t", bad, dry_run=True), "dry_run"
    yield day("t", bad, pg={"connection_uri": uri}, dry_run=True), "dry_run"
    staging = {"destination": {"mode": "staging"}}
    watch.table("u")
    for direct in ({}, staging):
        yield day("u", HEADER + b"2025-01-01,v," + row + b"\n", **direct), "DataRejected"
        yield day("u", HEADER + row + b",v,1\n", **direct), "DataRejected"
        yield day("u", HEADER + b"2025-01-01," + row + b",-1\n", **direct), "DataRejected"
    skip = staging | {"copy": {"on_error": "skip", "max_rejected_rows": 0}}
    yield day("u", HEADER + b"2025-01-01,v," + row + b"\n", **skip), "TooManyRejectedRows"
    yield day("u", HEADER + b"2026-01-01," + row + b",1\n"), "RowsOutsideWindow"
    yield day("u", GOOD, copy={"expected_rows": 7}), "RowCountMismatch"
    yield day("u", GOOD, copy={"expected_sha256": "0" * 64}), "ArchiveChecksumMismatch"
    yield day("u", b""), "HeaderMissing"
    yield day("u", b"time,time\n"), "HeaderInvalid"
    yield day("u", GOOD, copy={"columns": ["time"]}), "HeaderMismatch"
    yield day("u", GOOD, copy={"column_map": {"v": "x"}}), "UnknownColumn"
    yield day("u", HEADER + b"\\.\n" + bad), "EndOfDataMarker"
    yield stored("u", b"no gzip " + row), "ArchiveNotGzip"
    yield stored("u", gzip.compress(gzip.compress(b"twice " + row))), "ArchiveCompressedTwice"
    yield stored("u", gzip.compress(bad)[:-3]), "ArchiveTruncated"
    yield stored("u", gzip.compress(bad) + row), "ArchiveCorrupt"
    yield stored("u", gzip.compress(b"\0" * 40_000_000)), "ArchiveTooLarge"
    yield day("nowhere", GOOD), "TableNotFound"
    app.database.execute("CREATE VIEW {s}.view AS SELECT 1")
    yield day("view", GOOD), "TargetNotATable"
    app.database.execute("CREATE TABLE {s}.plain (v text)")
    yield day("plain", b"v\n" + row + b"\n", destination={"on_existing": "replace"}), "WindowUnknown"
    app.database.execute("CREATE TABLE {s}.odd (time timestamptz, v text, n text)")
    like = {"mode": "staging", "create_staging_like": f"{app.database.schema}.odd"}
    yield day("u", HEADER + b"2025-01-01," + row + b",1\n", destination=like), "StagingTypeMismatch"
    app.database.execute("CREATE FUNCTION {s}.drop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    watch.table("dropping")
    app.database.execute("CREATE TRIGGER x BEFORE INSERT ON {s}.dropping FOR EACH ROW EXECUTE FUNCTION {s}.drop()")
    yield day("dropping", bad), "VerificationFailed"


def restores_of_rows_that_are_read_as_names(watch: Watch, pg: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Of columns, as the file's header; of tables, by PostgreSQL."""
    app, row = watch.app, CANARIES["row"].encode()
    day = partial(day_of, app, pg)
    watch.table("named_by_rows")
    as_header = b"time," + row + b",v\n"
    for copy in ({"csv_options": {"FORCE_NULL": ["zz"]}}, {"column_map": {"zz": "v"}}, {}):
        yield day("named_by_rows", as_header, copy=copy), "UnknownColumn"
    yield day("named_by_rows", as_header, copy={"csv_options": {"HEADER": "match"}}), "HeaderMismatch"
    yield day("named_by_rows", as_header, copy={"columns": ["time", "v", "n"]}), "HeaderMismatch"
    several = {"csv_options": {"DELIMITER": "\x01", "QUOTE": "|"}}
    yield day("named_by_rows", b"time|,\n" + row + b"|\n", copy=several), "UnknownColumn"
    # PostgreSQL reads it as a name of a table in another database, and repeats it.
    app.database.execute("CREATE TABLE {s}.named (time timestamptz, v regclass)")
    for mode in ("direct", "staging"):
        named = {"mode": mode, "on_existing": "append"}
        yield day("named", b"time,v\n2025-01-01," + row + b".a.b\n", destination=named), "DataRejected"


def restores_that_meet_the_server(watch: Watch, pg: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Requests that are refused on the way: by storage, at the connect, for a right."""
    app, uri = watch.app, _uri(watch.app, pg)
    url = app.archive("t", GOOD)
    yield {"adls_url": signed(app, url), "pg": pg | {"database": "nowhere"}}, "DatabaseNotFound"
    yield {"adls_url": signed(app, url) + "0", "pg": pg}, "StorageAccessDenied"
    past = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=1)
    yield {"adls_url": signed(app, url, expiry=past), "pg": pg}, "StorageAccessDenied"
    yield {"adls_url": signed(app, url.replace(".t.", ".gone.")), "pg": pg}, "ArchiveNotFound"

    def day(**change: Any) -> dict[str, Any]:
        return {"adls_url": signed(app, url), "pg": pg | change, "destination": {"on_existing": "append"}}

    yield day(user="nobody_such"), "DatabaseAccessDenied"
    yield day(port=free_port()), "DatabaseUnreachable"
    yield day() | {"pg": {"connection_uri": uri + "&options=-c%20work_mem%3Dx"}}, "ConnectionOptionRejected"
    app.database.execute(f"ALTER ROLE {pg['user']} SET default_transaction_read_only = on")
    yield day(), "DatabaseReadOnly"
    app.database.execute(f"ALTER ROLE {pg['user']} RESET default_transaction_read_only")
    app.database.execute(f"ALTER ROLE {pg['user']} CONNECTION LIMIT 1")
    yield day(), "TooManyConnections"
    app.database.execute(f"ALTER ROLE {pg['user']} CONNECTION LIMIT -1")
    app.database.execute(f"REVOKE pg_write_all_data FROM {pg['user']}")
    yield day(), "DatabasePermissionDenied"


def test_every_success_and_every_failure(watch: Watch, pg: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for body, code in chain(
        restores(watch, pg),
        restores_of_rows_that_are_read_as_names(watch, pg),
        restores_that_meet_the_server(watch, pg),
    ):
        assert watch.send(body) == code, body
    day = {"adls_url": watch.app.archive("t", GOOD), "pg": pg}
    empty = b"\x1f\x8b\x08\x10" + bytes(7) + gzip.compress(b"")[10:]
    busy = gzip.compress(GOOD + b"2025-01-01," + CANARIES["row"].encode()) + empty * 1_000_000
    many = {"adls_url": watch.app.stored("busy", busy), "pg": pg}
    assert watch.send(many, PREPARE_CPU_SECONDS="1") == "ArchiveTooExpensive"
    assert watch.send(day, "text/plain; " + CANARIES["field"]) == "UnsupportedMediaType"
    # The account's own key, for a server that is not there.
    broken = f"AccountName={watch.app.storage.account};AccountKey={CANARIES['key']}"
    closed = f"{broken};BlobEndpoint=http://127.0.0.1:{free_port()}/{watch.app.storage.account}"
    assert watch.send(day, ADLS_CONNECTION_STRING=closed) == "StorageUnreachable"
    real = watch.app.storage.connection_string.partition("BlobEndpoint=")[2]
    assert watch.send(day, ADLS_CONNECTION_STRING=f"{broken};BlobEndpoint={real}") == "StorageAccessDenied"
    # A bug of ours that quotes whatever it has in hand.
    spilt = " ".join(CANARIES[name] for name in ("password", "own_password"))

    def spill(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{spilt} {pg} {closed}") from ValueError(closed)

    monkeypatch.setattr("shared.restore.server.authorize", spill)
    assert watch.send(day, ADLS_CONNECTION_STRING=closed) == "InternalError"
    # Their restores were traced: what was searched was not nothing.
    assert "DataRejected" in {of["restore.outcome"] for of, _ in watch.telemetry.points("restore.restores")}
    # Those of the other tests here.
    seen = watch.codes | {code for _, code, _ in refused(pg)}
    locked = {"DatabaseInRestoreMode", "OperationNotSupported", "StatementCanceled", "TargetLocked"}
    assert {kind.code for kind in errors()} - seen - locked == ELSEWHERE


def test_a_locked_table_and_one_with_row_security(
    watch: Watch, pg: dict[str, Any], in_restore_mode: Callable[[], None]
) -> None:
    app, bad = watch.app, HEADER + b"2025-01-01 00:00:00+00," + CANARIES["row"].encode() + b",1\n"
    watch.table("t")
    day = {"adls_url": signed(app, app.archive("t", bad)), "pg": pg}
    with app.database.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        app.database.execute("LOCK {s}.t")
        assert watch.send(day, PG_LOCK_TIMEOUT_SECONDS="1") == "TargetLocked"
        assert watch.send(day, PG_STATEMENT_TIMEOUT_SECONDS="1") == "StatementCanceled"
        cursor.execute("ROLLBACK")
    app.database.execute("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY")
    assert watch.send(day) in {"OperationNotSupported", "DatabaseFailed"}
    in_restore_mode()
    assert watch.send(day) == "DatabaseInRestoreMode"


def _posted(path: str, body: dict[str, Any], **headers: str) -> HttpCall:
    return call_of("POST", path, headers, body=json.dumps(body).encode())


def _asked(path: str, **query: str) -> HttpCall:
    return call_of("GET", path, {}, query=query)


def orders_with_secrets(url: str, pg: dict[str, Any]) -> Iterator[tuple[Any, HttpCall, str]]:
    """Calls for the queue, and the code of each."""
    sas = f"sv=2024-11-04&sp=r&sig={CANARIES['signature']}"
    uri = {"pg": {"connection_uri": f"postgresql://u:{CANARIES['uri']}@{pg['host']}:{pg['port']}/d"}}
    pattern, days = url.replace("2025-01-01", "{date}"), {"dates": {"from": "2025-01-01", "to": "2025-01-01"}}
    day, many = {"adls_url": url, "async": True}, {"adls_url": pattern} | days
    for secret in ({"pg": pg}, uri):
        yield post_restore, _posted("/api/restore", day | secret), "SecretInAsyncRequest"
        yield backfills, _posted("/api/backfills", many | secret), "SecretInAsyncRequest"
    yield post_restore, _posted("/api/restore", day | {"adls_url": f"{url}?{sas}"}), "SecretInAsyncRequest"
    yield backfills, _posted("/api/backfills", many | {"adls_url": f"{pattern}?{sas}"}), "InvalidArchiveUrl"
    named = {"Operation-Id": f"{CANARIES['field']}/x", "traceparent": CANARIES["field"]}
    yield post_restore, _posted("/api/restore", day, **named), "InvalidRequest"
    range_ = {"from": "2025-01-01", "to": "2025-01-01"}
    yield get_days, _asked("/api/days", adls_url=f"{pattern}?{sas}", **range_), "InvalidArchiveUrl"
    for name in (*range_, "target_table", "time_column", "counts", "top"):
        query = {"adls_url": pattern} | range_ | {name: CANARIES["field"] * 40}
        yield get_days, _asked("/api/days", **query), "InvalidRequest"
    for name in ("status", "day", "top", "after", "table"):
        yield get_restores, _asked("/api/restores", **{name: CANARIES["field"] * 40}), "InvalidRequest"
    token = call_of("GET", "/api/restores/x/result", {}, query={"token": CANARIES["token"]}, route={"id": "x"})
    yield get_result, token, "OperationNotFound"
    yield backfill_result, token, "OperationNotFound"


def test_the_functions_around_a_restore(watch: Watch, pg: dict[str, Any]) -> None:
    """The queue, many days, the calendar and health: with secrets where they may stand, and where not."""
    watch.table("t")
    for function, call, code in orders_with_secrets(watch.app.archive("t", GOOD), pg):
        assert watch.ask(function, call) == code, call
    health = _asked("/api/health/details")
    assert watch.ask(lambda _: get_details(), health) == "failed"
    for name in ("RESTORE_RULES", "PG_AUTH", "AzureWebJobsStorage", "ADLS_CONNECTION_STRING"):
        for value in (
            CANARIES["setting"],
            f"AccountName=a;AccountKey={CANARIES['key']}",
            '[{"name": 1, "pattern": "canary-Zq8"}]',
        ):
            watch.ask(lambda _: get_details(), health, **{name: value})


def test_messages(watch: Watch) -> None:
    """Of events, and of operations: no answer says anything of them, and the log nothing of a secret."""
    kind = {"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated"}
    sas = f"sv=2024-11-04&sp=r&sig={CANARIES['signature']}"
    events = (
        kind | {"data": {"url": f"https://account.blob.core.windows.net/fs1/x?{sas}"}},
        kind | {"data": {"url": f"https://account.blob.core.windows.net/fs1/d/s.t.{DAY}.csv.gz?{sas}"}},
        kind | {"data": {"url": f"https://u:{CANARIES['userinfo']}@evil.example/x"}},
        {"type": CANARIES["field"], "data": CANARIES["field"]},
    )
    named = {"version": 1, "id": f"{CANARIES['field']} x"}
    works: list[Callable[[bytes], None]] = [archive_arrived, dispatch_message, end_poisoned]
    for message in (*events, named, CANARIES["field"]):
        for work in works:
            with suppress(UnreadableMessageError):
                work(json.dumps(message).encode())
            watch.is_silent("a message")


def test_values_of_rows_that_a_server_says(watch: Watch, pg: dict[str, Any]) -> None:
    """By a trigger's notices and its error, and for each row that `on_error` skips."""
    app, row = watch.app, CANARIES["row"]
    bad = HEADER + f"2025-01-01 00:00:00+00,{row},1\n".encode()
    watch.table("speaking")
    app.database.execute(
        "CREATE FUNCTION {s}.speak() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE WARNING '%', new.v; RAISE EXCEPTION '%', new.v USING DETAIL = new.v, HINT = new.v; END $$"
    )
    app.database.execute("CREATE TRIGGER x BEFORE INSERT ON {s}.speaking FOR EACH ROW EXECUTE FUNCTION {s}.speak()")
    for mode in ("direct", "staging"):
        code = watch.send(day_of(app, pg, "speaking", bad, destination={"mode": mode}))
        assert code in ("DataRejected", "DatabaseFailed"), code
    watch.table("skipping")
    if app.database.connection.info.server_version < 170_000:
        pytest.skip("ON_ERROR is new in PostgreSQL 17")
    many = HEADER + f"2025-01-01 00:00:00+00,v,{row}\n".encode() * 200
    skip = {"destination": {"mode": "staging"}, "copy": {"on_error": "skip", "max_rejected_rows": 1000}}
    assert watch.send(day_of(app, pg, "skipping", many, **skip)) in ("ok", "ok_with_warnings")


@pytest.fixture
def in_restore_mode(app: App) -> Iterator[Callable[[], None]]:
    yield lambda: app.database.execute(f"ALTER DATABASE {app.database.name} SET timescaledb.restoring = on")
    app.database.execute(f"ALTER DATABASE {app.database.name} RESET timescaledb.restoring")


def test_tokens(watch: Watch, managed_identity: ManagedIdentity) -> None:
    """For storage, that an account refuses or that nobody can be reached with, and for a server that is listed."""
    managed_identity.token = CANARIES["token"]
    port = free_port()
    watch.monkeypatch.setenv("PG_ALLOWED_HOSTS", f"127.0.0.1:{port}")
    watch.monkeypatch.setenv("PG_ALLOWED_USERS", "identity")
    watch.table("t")
    request = {
        "adls_url": watch.app.archive("t", GOOD),
        "pg": {"auth": "entra", "host": "127.0.0.1", "port": port, "user": "identity"},
    }
    assert watch.send(request) == "DatabaseUnreachable"
    assert managed_identity.tokens_given
    managed_identity.is_refusing = True
    managed_identity.token = CANARIES["token"]
    assert watch.send(request) in {"DatabaseUnreachable", "DatabaseAccessDenied"}
