"""The role loses a right after the restore has looked at the table, and before it writes."""

from __future__ import annotations

import pytest

from tests.faults.fix_proxy import Proxy
from tests.faults.fix_scene import Scene


@pytest.fixture
def role(scene: Scene, proxy: Proxy) -> str:
    """Let the request be a role's that may do just what a restore needs."""
    pg = scene.site.database.role(
        "GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t"
    )
    scene.request["pg"] = proxy.pg(scene.site) | {"user": pg["user"], "password": pg["password"]}
    return str(pg["user"])


def next_statement(scene: Scene) -> bytes:
    """Return what comes between the look and the first write; a REVOKE after it would wait for the locks."""
    if scene.is_replace:
        return b"LOCK TABLE"
    return b"CREATE UNLOGGED TABLE" if scene.is_staging else b"COPY "


def test_the_right_to_insert(scene: Scene, proxy: Proxy, role: str) -> None:
    proxy.when(next_statement(scene), lambda _: scene.site.database.execute(f"REVOKE INSERT ON {{s}}.t FROM {role}"))
    scene.check_failed(scene.send(), "DatabasePermissionDenied", 403, retryable=False)
    scene.site.database.execute(f"GRANT INSERT ON {{s}}.t TO {role}")
    scene.check_repeat()


def test_the_right_to_count(scene: Scene, proxy: Proxy, role: str) -> None:
    """The rows are copied by then, and cannot be proved."""
    proxy.when(next_statement(scene), lambda _: scene.site.database.execute(f"REVOKE SELECT ON {{s}}.t FROM {role}"))
    scene.check_failed(scene.send(), "DatabasePermissionDenied", 403, retryable=False)
    scene.site.database.execute(f"GRANT SELECT ON {{s}}.t TO {role}")
    scene.check_repeat()


def test_the_schema(scene: Scene, proxy: Proxy, role: str) -> None:
    proxy.when(next_statement(scene), lambda _: scene.site.database.execute(f"REVOKE ALL ON SCHEMA {{s}} FROM {role}"))
    scene.check_failed(scene.send(), "DatabasePermissionDenied", 403, retryable=False)
    scene.site.database.execute(f"GRANT ALL ON SCHEMA {{s}} TO {role}")
    scene.check_repeat()


def test_the_password(scene: Scene, proxy: Proxy, role: str) -> None:
    """The load's session is in; the guard's comes later and is refused."""
    database = scene.site.database

    def lock_out() -> None:
        database.execute(f"ALTER ROLE {role} NOLOGIN")

    # The load's session is told that it is in; the next one to start up is the guard's.
    proxy.when(b"R\0\0\0\x08\0\0\0\0", lambda _: lock_out(), answers=True)
    scene.check_failed(scene.send(), "DatabaseAccessDenied", 403, retryable=False)
    database.execute(f"ALTER ROLE {role} LOGIN")
    scene.check_repeat()
