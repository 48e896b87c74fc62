"""What a server says no to at the connect, told once, in words that do not depend on the server's language."""

from __future__ import annotations

import json
import logging
import struct
from typing import Any

import pytest

from tests.faults.fix_quiet import CANARY
from tests.faults.fix_talking_server import speaking_server, talking_server
from tests.integration.fix_app import Answer, App
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

CSV = b"time,v\n2025-01-01 00:00Z,1\n"


@pytest.fixture
def url(app: App) -> str:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    return app.archive("t", CSV)


def check(answer: Answer, status: int, code: str, sqlstate: str | None) -> str:
    """The answer is this error, and says what is wrong once."""
    error = answer.body["error"]
    assert (answer.status, answer.code) == (status, code), answer.body
    message: str = error["message"]
    assert json.dumps(answer.body).count(json.dumps(message)[1:-1]) == 1
    if sqlstate is not None:
        assert [detail["sqlstate"] for detail in error["details"]] == [sqlstate]
    return message


def test_a_wrong_password_and_a_role_that_is_not_there(app: App, url: str) -> None:
    """libpq tries it with TLS and without, and repeats the sentence."""
    role = app.database.role()
    for pg in (role | {"password": "wrong"}, role | {"user": "nobody_such"}):
        said = check(app.restore(url, pg=pg), 403, "DatabaseAccessDenied", "28P01")
        assert said == f'the database server does not accept the password, or has no role "{pg["user"]}"'


def test_a_role_that_may_not_log_in(app: App, url: str) -> None:
    role = app.database.role()
    app.database.execute(f"ALTER ROLE {role['user']} NOLOGIN")
    said = check(app.restore(url, pg=role), 403, "DatabaseAccessDenied", "28000")
    assert "may not log in" in said


def test_a_database_that_is_not_there(app: App, url: str) -> None:
    pg = app.database.pg | {"database": "nowhere {dbname}"}
    said = check(app.restore(url, pg=pg), 404, "DatabaseNotFound", "3D000")
    assert said == 'the database server has no database "nowhere {dbname}"'


def test_no_free_connection_slot(app: App, url: str) -> None:
    """A restore takes two: the second one is refused, and the first is given back."""
    role = app.database.role("GRANT USAGE ON SCHEMA {s}", "GRANT pg_read_all_data, pg_write_all_data")
    app.database.execute(f"ALTER ROLE {role['user']} CONNECTION LIMIT 1")
    for _ in range(2):
        answer = app.restore(url, pg=role)
        assert "no free connection slot" in check(answer, 503, "TooManyConnections", "53300")
        assert answer.body["error"]["retryable"] is True
        assert answer.headers["Retry-After"] == "30"
    app.database.execute(f"ALTER ROLE {role['user']} CONNECTION LIMIT 2")
    assert app.restore(url, pg=role).status == 200


@pytest.mark.parametrize(
    ("sqlstate", "status", "code", "seconds"),
    [
        ("57P03", 503, "DatabaseUnreachable", "10"),
        ("53300", 503, "TooManyConnections", "30"),
        ("08006", 503, "DatabaseUnreachable", "30"),
        ("53200", 507, "DatabaseDiskFull", None),
        ("XX000", 500, "DatabaseFailed", None),
    ],
)
def test_what_a_server_may_say(app: App, url: str, sqlstate: str, status: int, code: str, seconds: str | None) -> None:
    with talking_server(sqlstate) as pg:
        answer = app.restore(url, pg=pg)
    check(answer, status, code, sqlstate)
    assert answer.headers.get("Retry-After") == seconds


_SASL = b"R" + struct.pack("!ii", 23, 10) + b"SCRAM-SHA-256\0\0"
_REFUSED_IN_SASL = f"e={CANARY}".encode()
# libpq repeats these words of the server, although it was set to show only the SQLSTATE.
_WORDS = {
    "an error of protocol 2": (f"E{CANARY}\n\0".encode(),),
    "several lines of it": (f'Eno\nconnection to server at "{CANARY}", port 1 failed: timeout expired\0'.encode(),),
    "a code that is none": (b"E" + struct.pack("!i", len(CANARY) + 7) + b"C" + CANARY.encode() + b"\0\0",),
    "a severity": (b"E" + struct.pack("!i", len(CANARY) + 13) + b"S" + CANARY.encode() + b"\0C1 23\0\0",),
    "an error of SCRAM": (
        _SASL,
        b"R" + struct.pack("!ii", len(_REFUSED_IN_SASL) + 8, 11) + _REFUSED_IN_SASL,
    ),
    "an extension": (b"v" + struct.pack("!iii", len(CANARY) + 18, 196_608, 1) + f"_pq_.{CANARY}".encode() + b"\0",),
}


@pytest.mark.parametrize("way", _WORDS)
def test_words_of_a_server_that_libpq_repeats(app: App, url: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    with speaking_server(*_WORDS[way]) as pg, caplog.at_level(logging.DEBUG):
        answer = app.restore(url, pg=pg)
    assert "may hold words of the server" in check(answer, 503, "DatabaseUnreachable", None)
    assert CANARY not in json.dumps(answer.body) + caplog.text


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((b"",), "server closed the connection unexpectedly"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "expected authentication request from server, but received H"),
        ((struct.pack("!cii", b"R", 8, 7),), "server requested GSSAPI authentication"),
    ],
)
def test_what_libpq_says_of_a_server(app: App, url: str, answers: tuple[bytes, ...], said: str) -> None:
    """In its own words: they name what to look at."""
    with speaking_server(*answers) as pg:
        message = check(app.restore(url, pg=pg), 503, "DatabaseUnreachable", None)
    assert said in message
    assert "may hold" not in message


def test_nobody_listens(app: App, url: str) -> None:
    pg: dict[str, Any] = app.database.pg | {"port": free_port()}
    answer = app.restore(url, pg=pg)
    assert "Connection refused" in check(answer, 503, "DatabaseUnreachable", None)
    assert answer.headers["Retry-After"] == "30"
