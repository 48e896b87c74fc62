"""Both lists of what to do about an error: for the caller (`retryable`), and for the queue (`retry`)."""

from __future__ import annotations

from shared.errors import DatabaseDiskFull, DatabaseFailedOver, DatabaseStorageFull
from tests.fix_errors import errors

# Codes that stand in neither are `fix`, and are not retryable.
RETRYABLE = {
    "DatabaseUnreachable",
    "JobStorageUnreachable",
    "StatementCanceled",
    "StorageUnreachable",
    "TargetLocked",
    "TooManyConnections",
}
RETRY = {
    "now": {"StatementCanceled"},
    "later": {
        "ArchiveBeingCopied",
        "ArchiveBeingRehydrated",
        "ArchiveChanged",
        "DatabaseDiskFull",
        "DatabaseStorageFull",
        "DatabaseUnreachable",
        "JobStorageUnreachable",
        "RestoreInProgress",
        "StorageUnreachable",
        "TargetLocked",
        "TemporaryDiskFull",
        "TooManyConnections",
    },
    "ask": {"CommitOutcomeUnknown"},
}


def test_which_codes_a_caller_may_send_again_at_once() -> None:
    assert {kind.code for kind in errors() if kind.retryable} == RETRYABLE


def test_what_the_queue_does_about_each_code() -> None:
    found = {retry: {kind.code for kind in errors() if kind.retry == retry} for retry in ("now", "later", "ask")}
    assert found == RETRY
    assert {kind.retry for kind in errors()} == {*RETRY, "fix"}


def test_a_full_disk_is_tried_once_more() -> None:
    """53100, and a server that has turned itself read-only."""
    assert {kind for kind in errors() if kind.most_retries == 1} == {DatabaseDiskFull, DatabaseStorageFull}


def test_a_replica_since_a_failover_is_one_that_passes() -> None:
    """It has the code of a replica that was named by mistake, which does not."""
    assert (DatabaseFailedOver.code, DatabaseFailedOver.retry, DatabaseFailedOver.retryable) == (
        "DatabaseReadOnly",
        "later",
        False,
    )
