"""A token of the function's identity as the password of its role, on a real server with TLS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.identity import PUBLIC
from tests.integration.fix_identity import ManagedIdentity, forget_identity
from tests.integration.fix_tls import TlsApp
from tools.local_server import free_port

pytestmark = pytest.mark.any_server

# As long as a real one, and of the same letters.
TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9." + "Zm9vYmFy" * 200 + ".c2lnbmF0dXJl-_"
ROLE = "restore-chunk identity"


@pytest.fixture
def entra_pg(tls_app: TlsApp, managed_identity: ManagedIdentity, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the server know the identity's role, and the settings the server; return the `pg` of a request."""
    managed_identity.token = TOKEN
    database = tls_app.database
    database.execute(f'DROP ROLE IF EXISTS "{ROLE}"')
    database.execute(f"CREATE ROLE \"{ROLE}\" LOGIN SUPERUSER PASSWORD '{TOKEN}'")
    database.roles.append(f'"{ROLE}"')
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_app.authority))
    monkeypatch.setenv("PG_ALLOWED_HOSTS", f"localhost:{database.connection.info.port}")
    return {"auth": "entra", "host": "localhost", "port": database.connection.info.port, "user": ROLE}


def test_a_restore_without_any_password(
    tls_app: TlsApp,
    entra_pg: dict[str, Any],
    managed_identity: ManagedIdentity,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    answer = tls_app.restore(tls_app.day(), pg=entra_pg | {"database": "postgres", "sslmode": "verify-full"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)
    # Several connections, one token: it is kept while it is good.
    assert managed_identity.tokens_given == [(PUBLIC.postgres_scope.removesuffix("/.default"), None)]
    assert TOKEN not in json.dumps(answer.body) + caplog.text


def test_the_settings_alone(tls_app: TlsApp, entra_pg: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PG_AUTH": "entra",
        "PGHOST": "localhost",
        "PGPORT": str(entra_pg["port"]),
        "PGUSER": ROLE,
        "PGSSLMODE": "verify-full",
    }.items():
        monkeypatch.setenv(name, value)
    answer = tls_app.post({"adls_url": tls_app.day()})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)


def test_a_token_that_ends_is_replaced_before_the_next_connection(
    tls_app: TlsApp, entra_pg: dict[str, Any], managed_identity: ManagedIdentity
) -> None:
    managed_identity.lifetime_seconds = 200
    answer = tls_app.restore(tls_app.day(), pg=entra_pg | {"database": "postgres"})
    assert answer.status == 200
    assert len(managed_identity.tokens_given) > 1


def test_another_scope_by_setting(
    tls_app: TlsApp,
    entra_pg: dict[str, Any],
    managed_identity: ManagedIdentity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PG_ENTRA_SCOPE", "https://elsewhere.example/.default")
    assert tls_app.restore(tls_app.day(), pg=entra_pg | {"database": "postgres"}).status == 200
    assert managed_identity.tokens_given == [("https://elsewhere.example", None)]


def test_a_token_that_the_server_refuses(
    tls_app: TlsApp, entra_pg: dict[str, Any], managed_identity: ManagedIdentity
) -> None:
    managed_identity.token = "another-token"
    answer = tls_app.restore(tls_app.day(), pg=entra_pg)
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")
    assert "another-token" not in json.dumps(answer.body)


def test_no_identity(tls_app: TlsApp, entra_pg: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    forget_identity(monkeypatch)
    answer = tls_app.restore(tls_app.day(), pg=entra_pg)
    assert (answer.status, answer.code) == (403, "DatabaseAccessDenied")
    assert "identity" in answer.body["error"]["hint"]


def test_a_host_that_is_not_listed_sees_no_token(
    tls_app: TlsApp, entra_pg: dict[str, Any], managed_identity: ManagedIdentity
) -> None:
    answer = tls_app.restore(tls_app.day(), pg=entra_pg | {"port": free_port()})
    assert (answer.status, answer.code) == (403, "DatabaseHostNotAllowed")
    assert managed_identity.tokens_given == []
