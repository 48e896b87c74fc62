"""The function app's own storage account."""

from __future__ import annotations

from shared.jobs.storage import JobStorage, forget_job_storage, job_storage
from shared.settings import load_settings


def empty_job_storage() -> JobStorage:
    """Return the account without messages and records."""
    forget_job_storage()
    storage = job_storage(load_settings())
    storage.queue.clear_messages()
    for entity in storage.table.list_entities():
        storage.table.delete_entity(entity)
    return storage
