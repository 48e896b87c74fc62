"""Whom the function talks to: certificates of a real server, checked by libpq."""

from __future__ import annotations

import pytest

from tests.integration.fix_tls import TlsApp

pytestmark = pytest.mark.any_server


def test_verify_full_by_the_machines_own_roots(tls_app: TlsApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the documents recommend, with no file named anywhere. SSL_CERT_FILE makes the authority one of the roots."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_app.authority))
    answer = tls_app.restore(tls_app.day(), pg=tls_app.pg | {"sslmode": "verify-full"})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)


def test_a_uri_says_it_with_system(tls_app: TlsApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_app.authority))
    pg = tls_app.pg
    uri = f"postgresql://{pg['user']}:{pg['password']}@localhost:{pg['port']}/postgres?sslrootcert=system"
    answer = tls_app.restore(tls_app.day(), pg={"connection_uri": uri})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 2)


def test_by_a_setting_that_names_the_roots(tls_app: TlsApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(tls_app.authority))
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    answer = tls_app.restore(tls_app.day(), pg=tls_app.pg | {"sslmode": None})
    assert answer.status == 200


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_an_authority_that_this_machine_does_not_know(tls_app: TlsApp, sslmode: str) -> None:
    answer = tls_app.restore(tls_app.day(), pg=tls_app.pg | {"sslmode": sslmode})
    assert (answer.status, answer.code) == (503, "DatabaseUnreachable")
    assert "certificate" in answer.body["error"]["message"]


def test_a_certificate_of_another_host(tls_app: TlsApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_app.authority))
    url = tls_app.day()
    pg = tls_app.pg | {"host": "127.0.0.1"}
    assert tls_app.restore(url, pg=pg | {"sslmode": "verify-full"}).code == "DatabaseUnreachable"
    assert tls_app.database.value("SELECT count(*) FROM {s}.t") == 0
    # Only the name differs: the signer is right.
    assert tls_app.restore(url, pg=pg | {"sslmode": "verify-ca"}).status == 200
