"""The function app's own storage account."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

from shared.jobs.storage import JobStorage, forget_job_storage, job_storage
from shared.settings import load_settings


def empty_job_storage() -> JobStorage:
    """Return the account without messages and records."""
    forget_job_storage()
    storage = job_storage(load_settings())
    storage.queue.clear_messages()
    for _, kept in groupby(storage.table.list_entities(), key=itemgetter("PartitionKey")):
        rest = list(kept)
        while some := rest[:100]:
            storage.table.submit_transaction([("delete", entity) for entity in some])
            rest = rest[100:]
    return storage
