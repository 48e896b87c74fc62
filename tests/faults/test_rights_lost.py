"""The role loses a right after the restore has looked at the table, and before it writes."""

from __future__ import annotations

import pytest

from tests.faults.fix_fault_case import FaultCase
from tests.faults.fix_proxy import Proxy


@pytest.fixture
def role(fault_case: FaultCase, proxy: Proxy) -> str:
    """Let the request be a role's that may do just what a restore needs."""
    pg = fault_case.app.database.role(
        "GRANT USAGE, CREATE ON SCHEMA {s}", "GRANT SELECT, INSERT, DELETE, TRUNCATE ON {s}.t"
    )
    fault_case.request["pg"] = proxy.pg(fault_case.app) | {"user": pg["user"], "password": pg["password"]}
    return str(pg["user"])


def next_statement(fault_case: FaultCase) -> bytes:
    """Return what comes between the look and the first write; a REVOKE after it would wait for the locks."""
    if fault_case.is_replace:
        return b"LOCK TABLE"
    return b"CREATE UNLOGGED TABLE" if fault_case.is_staging else b"COPY "


def test_the_right_to_insert(fault_case: FaultCase, proxy: Proxy, role: str) -> None:
    proxy.when(
        next_statement(fault_case), lambda _: fault_case.app.database.execute(f"REVOKE INSERT ON {{s}}.t FROM {role}")
    )
    fault_case.check_failed(fault_case.send(), "DatabasePermissionDenied", 403, retryable=False)
    fault_case.app.database.execute(f"GRANT INSERT ON {{s}}.t TO {role}")
    fault_case.check_repeat()


def test_the_right_to_count(fault_case: FaultCase, proxy: Proxy, role: str) -> None:
    """The rows are copied by then, and cannot be proved."""
    proxy.when(
        next_statement(fault_case), lambda _: fault_case.app.database.execute(f"REVOKE SELECT ON {{s}}.t FROM {role}")
    )
    fault_case.check_failed(fault_case.send(), "DatabasePermissionDenied", 403, retryable=False)
    fault_case.app.database.execute(f"GRANT SELECT ON {{s}}.t TO {role}")
    fault_case.check_repeat()


def test_the_schema(fault_case: FaultCase, proxy: Proxy, role: str) -> None:
    proxy.when(
        next_statement(fault_case), lambda _: fault_case.app.database.execute(f"REVOKE ALL ON SCHEMA {{s}} FROM {role}")
    )
    fault_case.check_failed(fault_case.send(), "DatabasePermissionDenied", 403, retryable=False)
    fault_case.app.database.execute(f"GRANT ALL ON SCHEMA {{s}} TO {role}")
    fault_case.check_repeat()


def test_the_password(fault_case: FaultCase, proxy: Proxy, role: str) -> None:
    """The load's session is in; the lock's comes later and is refused."""
    database = fault_case.app.database

    def lock_out() -> None:
        database.execute(f"ALTER ROLE {role} NOLOGIN")

    # The load's session is authenticated; the next one to start is the lock's.
    proxy.when(b"R\0\0\0\x08\0\0\0\0", lambda _: lock_out(), answers=True)
    fault_case.check_failed(fault_case.send(), "DatabaseAccessDenied", 403, retryable=False)
    database.execute(f"ALTER ROLE {role} LOGIN")
    fault_case.check_repeat()
