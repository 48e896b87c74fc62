"""What years of use leave behind: a thousand recorded restores, and an archive for each day of ten years."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from azure.storage.blob import ContainerClient

from shared.jobs.keys import row_of
from shared.jobs.operation import RestoreOperation
from shared.jobs.store import OperationStore
from shared.model.stamp import now

RESTORES = 1000
FIRST_DAY = date(2015, 1, 1)
LAST_DAY = date(2024, 12, 31)
# One of so many has failed.
_FAILED_EACH = 7
_ERROR = {
    "code": "DataRejected",
    "message": "line 702, column temperature: invalid text representation",
    "target": "adls_url",
    "hint": "correct the row at the line that details names; nothing was loaded",
    "retryable": False,
    "retry": "fix",
    "details": [],
}


def days() -> Iterator[date]:
    """Yield each day of the ten years."""
    for number in range((LAST_DAY - FIRST_DAY).days + 1):
        yield FIRST_DAY + timedelta(days=number)


def record_restores(store: OperationStore[RestoreOperation], pattern: str, database: str, target_table: str) -> None:
    """Write the records of a thousand restores that have ended, as the queue's worker leaves them.

    Args:
        store: where they go.
        pattern: URL of the archives, with `{date}` where the day stands.
        database: the database that they name.
        target_table: schema and table.
    """
    store.create_all(
        [
            ended_restore(
                f"many-{number:04}", day, pattern, database, target_table, has_failed=number % _FAILED_EACH == 0
            )
            for number, day in zip(range(RESTORES), days(), strict=False)
        ]
    )


def ended_restore(
    operation_id: str, day: date, pattern: str, database: str, target_table: str, *, has_failed: bool = False
) -> RestoreOperation:
    """Return the record of a restore that has ended now."""
    url, time = pattern.replace("{date}", f"{day}"), now()
    return RestoreOperation(
        id=operation_id,
        request=json.dumps({"adls_url": url}),
        archive=url,
        database=database,
        target_table=target_table,
        day=f"{day}",
        created=time,
        row_key=row_of(operation_id),
        status="Failed" if has_failed else "Succeeded",
        started=time,
        ended=time,
        attempt=1,
        stage="copy" if has_failed else "commit",
        compressed_bytes=2_000_000,
        compressed_bytes_total=2_000_000,
        rows=201_600,
        seconds=6.5,
        error=json.dumps(_ERROR) if has_failed else "",
    )


def store_archives(container: ContainerClient, path: str) -> None:
    """Store an archive for each day of the ten years. Its content is of no use: it is listed, and not read.

    Args:
        container: where they go.
        path: of an archive, with `{date}` where the day stands.
    """
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda day: container.upload_blob(path.replace("{date}", f"{day}"), b"x"), days()))
