"""The server ends a session of the restore: an administrator, an OOM killer's restart, a failover."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.faults.fix_fault_case import CASES, FaultCase, gate
from tests.faults.fix_proxy import Proxy

LOCK_SESSION = "backend_xid IS NULL AND state = 'idle in transaction'"
LOAD = "backend_xid IS NOT NULL"

# Every case at every moment. Other faults that end a session are met in pairs of the same.
pytestmark = pytest.mark.parametrize("fault_case", CASES, indirect=True)


def test_before_the_copy(fault_case: FaultCase) -> None:
    with closing(fault_case.app.database.session()) as other, other.cursor() as cursor:
        cursor.execute(f'BEGIN; LOCK TABLE "{fault_case.app.database.schema}".t IN ACCESS EXCLUSIVE MODE')
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        fault_case.terminate("wait_event_type = 'Lock'")
    fault_case.check_failed(call.result(), "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


def test_during_the_copy(fault_case: FaultCase) -> None:
    with gate(fault_case):
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        fault_case.terminate("wait_event_type = 'Lock'")
        answer = call.result()
    fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


def test_after_the_copy(fault_case: FaultCase, proxy: Proxy) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"SET LOCAL synchronous_commit TO DEFAULT", lambda _: fault_case.terminate(LOAD))
    fault_case.check_failed(fault_case.send(), "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


def test_just_before_the_commit(fault_case: FaultCase, proxy: Proxy) -> None:
    """The server says that the transaction was rolled back."""
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", lambda _: fault_case.terminate(LOAD))
    answer = fault_case.send()
    assert "COMMIT" in answer.body["error"]["message"]
    fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


def test_just_after_the_commit(fault_case: FaultCase, proxy: Proxy) -> None:
    fault_case.request["pg"] = proxy.pg(fault_case.app)
    proxy.when(b"COMMIT\0", lambda _: proxy.when(b"set_config", lambda _: fault_case.terminate("query = 'COMMIT'")))
    fault_case.check_done(fault_case.send())


def test_both_sessions_at_once(fault_case: FaultCase) -> None:
    with gate(fault_case):
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        fault_case.terminate()
        answer = call.result()
    fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
    fault_case.check_repeat()


def test_the_locks_session_is_lost_and_the_day_is_still_not_loaded_twice(fault_case: FaultCase) -> None:
    """A second restore is refused while the first one runs, although the session of its lock is gone."""
    fault_case.destination.setdefault("on_existing", "append")
    with gate(fault_case) as let_go:
        first = fault_case.start()
        fault_case.wait_until_locked_out()
        fault_case.terminate(LOCK_SESSION)
        second = fault_case.start().result()
        let_go()
        answer = first.result()
    assert (second.code, second.status) == ("RestoreInProgress", 409), second.body
    if answer.status == 503:
        # A TRUNCATE is only safe with a last look on the lock's connection.
        assert fault_case.is_replace
        fault_case.check_failed(answer, "DatabaseUnreachable", 503, retryable=True)
        answer = fault_case.send()
    fault_case.check_done(answer)


def test_a_canceled_statement(fault_case: FaultCase) -> None:
    with gate(fault_case):
        call = fault_case.start()
        fault_case.wait_until_locked_out()
        for pid in fault_case.sessions("wait_event_type = 'Lock'"):
            fault_case.app.database.execute("SELECT pg_cancel_backend(%s)", pid)
        answer = call.result()
    fault_case.check_failed(answer, "RestoreCanceled", 409, retryable=False)
    fault_case.check_repeat()
