"""Which version of an archive is loaded: the one that the request pins, and none that storage still copies."""

from __future__ import annotations

import pytest

from tests.integration.fix_app import App

pytestmark = pytest.mark.any_server

CSV = b"time,v\n2025-01-01 01:00Z,1\n"


def etag_of(app: App) -> str:
    path = app.path("t", "2025-01-01")
    return str(app.storage.service.get_blob_client(app.storage.filesystem, path).get_blob_properties().etag)


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"'])
def test_the_version_that_is_expected_is_loaded(app: App, form: str) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.archive("t", CSV)
    answer = app.restore(url, copy={"expected_etag": form.format(etag_of(app).strip('"'))})
    assert (answer.status, answer.body["rows_loaded"]) == (200, 1)


@pytest.mark.parametrize("dry_run", [False, True])
def test_another_version_is_refused(app: App, *, dry_run: bool) -> None:
    app.database.hypertable("t", "time timestamptz NOT NULL, v int")
    url = app.archive("t", CSV)
    etag = etag_of(app)
    app.archive("t", CSV.replace(b",1", b",2"))
    answer = app.restore(url, copy={"expected_etag": etag}, dry_run=dry_run)
    assert (answer.status, answer.code) == (409, "ArchiveOtherVersion")
    assert not answer.body["error"]["retryable"]
    assert app.database.value("SELECT count(*) FROM {s}.t") == 0


@pytest.mark.parametrize("etag", ["", '"', "0x1 0x2", "é", "x" * 200])
def test_what_is_not_an_etag_is_a_bad_request(app: App, etag: str) -> None:
    answer = app.restore(app.archive("t", CSV), copy={"expected_etag": etag})
    assert (answer.status, answer.body["error"]["target"]) == (400, "copy.expected_etag")
