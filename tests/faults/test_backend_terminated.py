"""The server ends a session of the restore: an administrator, an OOM killer's restart, a failover."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.faults.fix_proxy import Proxy
from tests.faults.fix_scene import CASES, Scene, gate

GUARD = "backend_xid IS NULL AND state = 'idle in transaction'"
LOAD = "backend_xid IS NOT NULL"

# Every case at every moment. Other faults that end a session are met in pairs of the same.
pytestmark = pytest.mark.parametrize("scene", CASES, indirect=True)


def test_before_the_copy(scene: Scene) -> None:
    with closing(scene.site.database.session()) as other, other.cursor() as cursor:
        cursor.execute(f'BEGIN; LOCK TABLE "{scene.site.database.schema}".t IN ACCESS EXCLUSIVE MODE')
        call = scene.start()
        scene.wait_until_locked_out()
        scene.terminate("wait_event_type = 'Lock'")
    scene.check_failed(call.result(), "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


def test_during_the_copy(scene: Scene) -> None:
    with gate(scene):
        call = scene.start()
        scene.wait_until_locked_out()
        scene.terminate("wait_event_type = 'Lock'")
        answer = call.result()
    scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


def test_after_the_copy(scene: Scene, proxy: Proxy) -> None:
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"SET LOCAL synchronous_commit TO DEFAULT", lambda _: scene.terminate(LOAD))
    scene.check_failed(scene.send(), "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


def test_just_before_the_commit(scene: Scene, proxy: Proxy) -> None:
    """The server is asked what became of the transaction: it was rolled back."""
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", lambda _: scene.terminate(LOAD))
    answer = scene.send()
    assert "COMMIT" in answer.body["error"]["message"]
    scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


def test_just_after_the_commit(scene: Scene, proxy: Proxy) -> None:
    scene.request["pg"] = proxy.pg(scene.site)
    proxy.when(b"COMMIT\0", lambda _: proxy.when(b"set_config", lambda _: scene.terminate("query = 'COMMIT'")))
    scene.check_done(scene.send())


def test_both_sessions_at_once(scene: Scene) -> None:
    with gate(scene):
        call = scene.start()
        scene.wait_until_locked_out()
        scene.terminate()
        answer = call.result()
    scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    scene.check_repeat()


def test_the_guard_is_lost_and_the_day_is_still_not_loaded_twice(scene: Scene) -> None:
    """Whoever calls meanwhile is told that a restore runs, although the guard's session is gone."""
    scene.destination.setdefault("on_existing", "append")
    with gate(scene) as let_go:
        first = scene.start()
        scene.wait_until_locked_out()
        scene.terminate(GUARD)
        second = scene.start().result()
        let_go()
        answer = first.result()
    assert (second.code, second.status) == ("RestoreInProgress", 409), second.body
    if answer.status == 503:
        # A TRUNCATE is only safe with a last look through the guard's session.
        assert scene.is_replace
        scene.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
        answer = scene.send()
    scene.check_done(answer)


def test_a_canceled_statement(scene: Scene) -> None:
    with gate(scene):
        call = scene.start()
        scene.wait_until_locked_out()
        for pid in scene.sessions("wait_event_type = 'Lock'"):
            scene.site.database.execute("SELECT pg_cancel_backend(%s)", pid)
        answer = call.result()
    scene.check_failed(answer, "StatementCanceled", 503, retryable=True)
    scene.check_repeat()
