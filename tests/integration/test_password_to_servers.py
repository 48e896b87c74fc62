"""No server is shown what is the function's own, in no connection: the one for the SQLSTATE of a refusal included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.fix_app import App
from tests.integration.fix_recorder import Recorder
from tools.config import LOOPBACK

CANARY = "canary-Zq8"
# All that libpq reads: https://www.postgresql.org/docs/current/libpq-envars.html
VARIABLES = (
    "PGPASSWORD",
    "PGPASSFILE",
    "PGUSER",
    "PGDATABASE",
    "PGAPPNAME",
    "PGOPTIONS",
    "PGTZ",
    "PGDATESTYLE",
    "PGGEQO",
)


@pytest.mark.any_server
@pytest.mark.parametrize("pg", [{}, {"password": "theirs"}, {"user": "somebody"}, {"password": ""}])
def test_a_server_of_the_requests_choice(
    app: App, recorder: Recorder, pg: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # libpq looks for it in the home directory where it is told of no other.
    (tmp_path / ".pgpass").write_text(f"*:*:*:*:{CANARY}-PGPASSWORD\n")
    (tmp_path / ".pgpass").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    monkeypatch.delenv("PGUSER" if "user" in pg else "PGTZ")
    url = app.archive("t", b"time,v\n")
    parts = {"host": LOOPBACK, "port": recorder.port, "sslmode": "disable"} | pg
    answer = app.restore(url, pg=parts)
    assert answer.status in ((503,) if recorder.refusal == "hangs up" else (400, 403)), answer.body
    if "password" in pg or "user" in pg or recorder.connections:
        assert recorder.connections
    shown = recorder.shown.decode("latin-1")
    for name in ("PGPASSWORD", "PGPASSFILE", "PGDATABASE", "PGAPPNAME", "PGTZ", "PGDATESTYLE", "PGGEQO"):
        assert f"{CANARY}-{name}" not in shown
    # Not in another form of it either.
    assert not recorder.answered or pg.get("password")


@pytest.mark.any_server
def test_a_listed_server_is_not_given_the_address_of_another(
    app: App, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request's own password for a host goes to that host, whatever PGHOSTADDR says."""
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGHOSTADDR", LOOPBACK)
    monkeypatch.setenv("PG_ALLOWED_HOSTS", "other.invalid,db.example")
    parts = {"host": "other.invalid", "port": recorder.port, "user": "u", "password": "theirs", "sslmode": "require"}
    assert app.restore(app.archive("t", b"time,v\n"), pg=parts).code == "DatabaseUnreachable"
    assert recorder.connections == 0
