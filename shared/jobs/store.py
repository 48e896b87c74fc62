"""The records of asynchronous restores in an Azure table. Each write names the ETag that it was decided by.

All records are in one partition, so that a record and the entity that finds it by its id are created in one
transaction. A partition takes 2,000 entities a second
(https://learn.microsoft.com/azure/storage/tables/scalability-targets); a restore writes one every five seconds.

Each operation has two entities. `id~<id>` names the row of the record, so an id exists once. `op~<newest first>~<id>`
is the record itself, so a range of rows is a list of the newest. Days and groups of a backfill have the time of the
backfill there, so that they are a range of rows, in their own order. The process keeps where a record is: to look at
one again is one read.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, Generic, TypeVar

from shared.errors import JobStorageUnreachable, OperationNotFound
from shared.jobs.keys import BEHIND_LAST_ROW, FIRST_ROW, row_of
from shared.jobs.operation import OPERATION_ID, Operation
from shared.jobs.storage import JobStorage, reaching_storage

# A property holds 64 KiB of UTF-16 (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model).
LONGEST_TEXT = 60_000  # bytes
_BLOB = "blob:"
_FIRST_OF_64_BITS = 2**31
# 100 entities in a transaction (https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions).
_MOST_AT_ONCE = 50
# Texts that may be long.
_LONG = ("request", "commit", "error", "answer", "plan", "left")
_NOT_STORED = ("id", "row_key", "etag", "written", "read")
# How many operations' rows the process remembers: about a megabyte.
_MOST_ROWS = 5000
# For how long a record that runs is shown as it was read, and how many are kept for that.
SHOWN_SECONDS = 0.2
_MOST_SHOWN = 100

R = TypeVar("R", bound=Operation)

NO_SUCH_OPERATION = "there is no such operation, or it is no longer kept"


class Conflict(Exception):
    """The record is not as it was read: another writer came first, or it is gone."""


@dataclass(frozen=True)
class Page(Generic[R]):
    """Some operations, and where the next ones begin; None after the last."""

    operations: tuple[R, ...]
    next_row: str | None


class OperationStore(Generic[R]):
    """Creates, finds and changes the records of one type of operation."""

    def __init__(self, storage: JobStorage, type_: type[R]) -> None:
        self._storage = storage
        self._type = type_
        self._kind = type_.kind

    def create(self, operation: R) -> tuple[R, bool]:
        """Create a record.

        Returns:
            The record of this id, and whether it is new. If two create it at once, one of them is new.

        Raises:
            JobStorageUnreachable: as everywhere in this class.
        """
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - see shared/jobs/storage.py
        from azure.data.tables import TableTransactionError  # noqa: PLC0415

        if not operation.row_key:
            operation = dataclasses.replace(operation, row_key=row_of(operation.id))
        with reaching_storage():
            try:
                written = self._storage.table.submit_transaction(self.creation(operation))
            except (ResourceExistsError, TableTransactionError) as exc:
                if exc.status_code != 409:  # noqa: PLR2004 - HTTP's Conflict
                    raise
                return self.get(operation.id), False
        return dataclasses.replace(operation, etag=written[1]["etag"]), True

    def create_all(self, operations: Sequence[R]) -> None:
        """Create records that name their rows; those that are there already stay as they are."""
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - see shared/jobs/storage.py
        from azure.data.tables import TableTransactionError  # noqa: PLC0415

        for first in range(0, len(operations), _MOST_AT_ONCE):
            some = operations[first : first + _MOST_AT_ONCE]
            with reaching_storage():
                try:
                    self._storage.table.submit_transaction([step for one in some for step in self.creation(one)])
                except (ResourceExistsError, TableTransactionError) as exc:
                    if exc.status_code not in (409, 413):
                        raise
                    # One of them is there; or a transaction must not be that large.
                    for one in some:
                        self.create(one)

    def creation(self, operation: R) -> list[tuple[str, dict[str, Any]]]:
        """Return the steps of the transaction that creates a record."""
        pointer = {"PartitionKey": self._kind, "RowKey": f"id~{operation.id}", "row": operation.row_key}
        entity = self._entity(operation.id, operation.row_key, _stored(operation))
        return [("create", pointer), ("create", entity)]

    def get(self, operation_id: str) -> R:
        """Read a record.

        Raises:
            OperationNotFound: there is none with this id, or it is no longer kept.
        """
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - see shared/jobs/storage.py

        if not OPERATION_ID.fullmatch(operation_id):
            # Some characters are not allowed in keys, and the service answers them with an error that looks temporary.
            raise OperationNotFound(NO_SUCH_OPERATION)
        rows, key = self._storage.rows, (self._kind, operation_id)
        with reaching_storage():
            if key in rows:
                # The record may be deleted, and the id used again in another row.
                with suppress(ResourceNotFoundError):
                    return self._operation(self._storage.table.get_entity(self._kind, rows[key]))
                rows.pop(key, None)
            try:
                row = str(self._storage.table.get_entity(self._kind, f"id~{operation_id}")["row"])
                operation = self._operation(self._storage.table.get_entity(self._kind, row))
            except ResourceNotFoundError:
                raise OperationNotFound(NO_SUCH_OPERATION) from None
        if len(rows) >= _MOST_ROWS:
            rows.clear()
        rows[key] = row
        return operation

    def get_to_show(self, operation_id: str) -> R:
        """Read a record for its monitor. One that runs may be as it was 0.2 s ago. Raises as `get`.

        So callers that look without a pause, or many at once, cost one read: most of what a look takes, also from a
        restore on the same cores. A heartbeat changes the record every 5 s.
        """
        shown, key = self._storage.shown, (self._kind, operation_id)
        operation, read_at = shown.get(key, (None, 0.0))
        if isinstance(operation, self._type) and time.monotonic() - read_at < SHOWN_SECONDS:
            return operation
        begun = time.monotonic()
        operation = self.get(operation_id)
        if operation.status == "Running":
            if len(shown) >= _MOST_SHOWN:
                shown.clear()
            shown[key] = operation, begun
        else:
            shown.pop(key, None)
        return operation

    def at(self, row_key: str, *, load: bool = True) -> R:
        """Read a record whose row is known. Raises as `get`.

        Args:
            row_key: its row.
            load: whether to read long texts that are not in the entity.
        """
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - see shared/jobs/storage.py

        with reaching_storage():
            try:
                return self._operation(self._storage.table.get_entity(self._kind, row_key), load=load)
            except ResourceNotFoundError:
                raise OperationNotFound(NO_SUCH_OPERATION) from None

    def below(
        self, prefix: str, condition: str = "", *, texts: Sequence[str] = (), most: int | None = None, **values: Any
    ) -> list[R]:
        """List records whose row begins with a prefix, in the order of their rows.

        Args:
            prefix: of the row.
            condition: OData, with `@name` for a value.
            texts: which of the texts are read that may be long.
            most: how many at most.
            values: of the condition.
        """
        text = "PartitionKey eq @kind and RowKey ge @prefix and RowKey lt @after" + (condition and f" and {condition}")
        short = (name for name in _stored_names(self._type) if name not in _LONG)
        names = ["PartitionKey", "RowKey", "Timestamp", "id", *short, *texts]
        with reaching_storage():
            found = self._storage.table.query_entities(
                text,
                parameters={"kind": self._kind, "prefix": prefix, "after": f"{prefix}~", **values},
                results_per_page=min(most or 1000, 1000),
                select=names,
            )
            return [self._operation(entity) for entity in islice(found, most)]

    def change(self, operation: R, **changes: Any) -> R:
        """Write some attributes of a record that is as it was read.

        Returns:
            The record as it is now.

        Raises:
            Conflict: it is not.
        """
        from azure.core import MatchConditions  # noqa: PLC0415 - see shared/jobs/storage.py
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError  # noqa: PLC0415

        changed = dataclasses.replace(operation, **changes)
        properties = {name: value for name, value in _stored(changed).items() if name in changes}
        entity = self._entity(operation.id, operation.row_key, properties)
        with reaching_storage():
            try:
                written = self._storage.table.update_entity(
                    entity, etag=operation.etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                raise Conflict from None
        self._storage.shown.pop((self._kind, operation.id), None)
        return dataclasses.replace(changed, etag=written["etag"])

    def update(self, operation: R, decide: Callable[[R], Mapping[str, Any]]) -> R:
        """Write some attributes of a record, also if others write to it meanwhile.

        Args:
            operation: the record as it was read.
            decide: returns what to write into a record; nothing: leave it. It is asked again about what another writer
                left, and may raise.

        Returns:
            The record as it is now.

        Raises:
            OperationNotFound: it is gone.
            JobStorageUnreachable: the write was refused as if another writer had come first, and none had.
        """
        while True:
            changes = decide(operation)
            if not changes:
                return operation
            try:
                return self.change(operation, **changes)
            except Conflict:
                current = self.get(operation.id)
            if current.etag == operation.etag:
                # A proxy may answer like that. Asking again would never end.
                raise JobStorageUnreachable("the function app's own storage account answered 412 without a reason")
            operation = current

    def newest(
        self,
        equal: Mapping[str, str] | None = None,
        *,
        most: int = 50,
        from_row: str | None = None,
        written_before: datetime | None = None,
    ) -> Page[R]:
        """List records, newest first, without long texts that are not in the entity.

        Args:
            equal: values that attributes must have.
            most: how many, at least 1.
            from_row: where a former page said that the next one begins.
            written_before: by the Table service's clock; None: whenever they were written.
        """
        conditions = ["PartitionKey eq @kind", "RowKey ge @first", "RowKey lt @behind"]
        parameters: dict[str, Any] = {"kind": self._kind, "first": from_row or FIRST_ROW, "behind": BEHIND_LAST_ROW}
        if written_before is not None:
            conditions.append("Timestamp lt @written_before")
            parameters["written_before"] = written_before
        for name, value in (equal or {}).items():
            conditions.append(f"{name} eq @{name}")
            parameters[name] = value
        found: list[R] = []
        with reaching_storage():
            for entity in self._storage.table.query_entities(
                " and ".join(conditions), parameters=parameters, results_per_page=min(most + 1, 1000)
            ):
                if len(found) == most:
                    return Page(tuple(found), str(entity["RowKey"]))
                found.append(self._operation(entity, load=False))
        return Page(tuple(found), None)

    def service_time(self) -> datetime:
        """Return the time of the Table service. This machine's clock may be wrong.

        Raises:
            JobStorageUnreachable: the service does not say.
        """
        if self._storage.clock.now is None:
            self.newest(most=1)
        if self._storage.clock.now is None:
            raise JobStorageUnreachable("the function app's own storage account does not say what time it is")
        return self._storage.clock.now

    def delete(self, operation: R) -> None:
        """Delete a record that is as it was read, and what belongs to it.

        Raises:
            Conflict: it is not.
        """
        from azure.core import MatchConditions  # noqa: PLC0415 - see shared/jobs/storage.py
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415
        from azure.data.tables import TableTransactionError  # noqa: PLC0415

        table, container = self._storage.table, self._storage.container
        as_read = {"etag": operation.etag, "match_condition": MatchConditions.IfNotModified}
        record = {"PartitionKey": self._kind, "RowKey": operation.row_key}
        pointer = {"PartitionKey": self._kind, "RowKey": f"id~{operation.id}"}
        with reaching_storage():
            # Before the record: once it is gone, another one may have its id, and blobs of its own.
            blobs = list(container.list_blob_names(name_starts_with=f"{self._kind}/{operation.id}/"))
            try:
                # In one transaction: a pointer that is left behind would keep its id from being used again.
                table.submit_transaction([("delete", record, as_read), ("delete", pointer)])
            except TableTransactionError as exc:
                if exc.status_code == HTTPStatus.PRECONDITION_FAILED:
                    raise Conflict from None
                if exc.status_code != HTTPStatus.NOT_FOUND:
                    raise
                # Somebody else has deleted it.
                return
            for name in blobs:
                with suppress(ResourceNotFoundError):
                    container.delete_blob(name)

    def enqueue(self, message: str, *, delay_seconds: int = 0) -> None:
        """Put a message into the queue.

        Args:
            message: its text.
            delay_seconds: how long no worker sees it.
        """
        with reaching_storage():
            # Messages end after seven days by default.
            self._storage.queue.send_message(message, visibility_timeout=delay_seconds, time_to_live=-1)

    def queue_is_empty(self) -> bool:
        """Whether the queue holds no message, seen or unseen. The service's count may lag behind a little."""
        with reaching_storage():
            return not self._storage.queue.get_queue_properties().approximate_message_count

    def _entity(self, operation_id: str, row_key: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        short = {
            name: self._in_blob(operation_id, name, value)
            if name in _LONG and len(value.encode("utf-16-le")) > LONGEST_TEXT
            else _entity_value(value)
            for name, value in properties.items()
        }
        return {"PartitionKey": self._kind, "RowKey": row_key, "id": operation_id, **short}

    def _in_blob(self, operation_id: str, name: str, text: str) -> str:
        """Put a text into a blob of its own, and return a reference to it. JSON never begins like this reference."""
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - see shared/jobs/storage.py

        blob = f"{self._kind}/{operation_id}/{name}-{uuid.uuid4().hex}.json"
        # If it exists, it is ours: the SDK tried again after an answer that was lost.
        with reaching_storage(), suppress(ResourceExistsError):
            self._storage.container.upload_blob(blob, text.encode())
        return _BLOB + blob

    def _operation(self, entity: Mapping[str, Any], *, load: bool = True) -> R:
        type_ = self._type.type_of(entity)
        known = _stored_names(type_)
        # A number of 64 bits comes with its type.
        found = {name: getattr(value, "value", value) for name, value in entity.items() if name in known}
        # A text that was not asked for is empty.
        properties = {name: "" for name in known if name in _LONG} | found
        for name, text in properties.items():
            if name in _LONG and text.startswith(_BLOB):
                blob = text.removeprefix(_BLOB)
                properties[name] = self._storage.container.download_blob(blob).readall().decode() if load else ""
        if "tokens" in properties:
            properties["tokens"] = tuple(json.loads(properties["tokens"] or "[]"))
        metadata = entity.metadata  # type: ignore[attr-defined] # a TableEntity
        return type_(
            id=str(entity["id"]),
            row_key=str(entity["RowKey"]),
            etag=metadata["etag"],
            written=metadata["timestamp"],
            read=self._storage.clock.now,
            **properties,
        )


def _entity_value(value: Any) -> Any:
    """Give a number the type of 64 bits: the SDK assumes 32 bits, and would refuse it."""
    from azure.data.tables import EdmType, EntityProperty  # noqa: PLC0415 - see shared/jobs/storage.py

    return EntityProperty(value, EdmType.INT64) if type(value) is int and value >= _FIRST_OF_64_BITS else value


def _stored_names(type_: type[Operation]) -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(type_) if one.name not in _NOT_STORED)


def _stored(operation: Operation) -> dict[str, Any]:
    values = {name: getattr(operation, name) for name in _stored_names(type(operation))}
    return values | ({"tokens": json.dumps(values["tokens"])} if "tokens" in values else {})


def each_page(
    store: OperationStore[R], equal: Mapping[str, str], *, written_before: datetime | None = None
) -> Iterator[R]:
    """Yield all operations whose attributes have these values, newest first. The arguments are those of `newest`."""
    row = None
    while True:
        page = store.newest(equal, most=1000, from_row=row, written_before=written_before)
        yield from page.operations
        row = page.next_row
        if row is None:
            return
