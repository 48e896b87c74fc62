"""The queue and timer triggers of the local host, as the real one runs them, against a real queue.

Read from QueueListener and QueueProcessor of azure-sdk-for-net, the backoff of azure-webjobs-sdk:

- A message is received with an invisibility, which is renewed at half of it while the function runs. The real host's is
  10 minutes; after a crash the message comes back when it ends.
- `newBatchThreshold` and fewer running: up to `batchSize` more are received.
- A function that succeeds: the message is deleted. One that fails: the message is seen again after `visibilityTimeout`,
  or moved to `<queue>-poison` if it was dequeued `maxDequeueCount` times. A message that comes more often goes there
  without a call.
- An empty queue is asked again after a delay that grows up to `maxPollingInterval`.
- A message that is not in base64, where `messageEncoding` says that it is, is poison.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.meta import Datum
from azure.functions.queue import QueueMessageInConverter
from azure.functions.timer import TimerRequestConverter
from azure.storage.queue import QueueClient, QueueMessage

from tools.config import ToolError

_log = logging.getLogger("host")

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})")
_SHORTEST_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class QueueOptions:
    """What host.json says of queues. The defaults are the real host's.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#hostjson-settings
    """

    max_polling_seconds: float = 60
    visibility_seconds: float = 0
    batch_size: int = 16
    new_batch_threshold: int | None = None
    max_dequeue_count: int = 5
    encoding: str = "base64"

    @property
    def threshold(self) -> int:
        """How many may run when more are received; by default half of `batchSize`."""
        return self.batch_size // 2 if self.new_batch_threshold is None else self.new_batch_threshold


def read_queue_options(host: Mapping[str, Any]) -> QueueOptions:
    """Read `extensions.queues` of host.json, and refuse what the real host would refuse.

    Raises:
        ToolError: a value is out of its range.
    """
    given = dict(host.get("extensions", {}).get("queues", {}))
    known = {
        "maxPollingInterval",
        "visibilityTimeout",
        "batchSize",
        "newBatchThreshold",
        "maxDequeueCount",
        "messageEncoding",
    }
    if unknown := given.keys() - known:
        raise ToolError(f"host.json: extensions.queues has {', '.join(sorted(unknown))}, which the host does not know")
    options = QueueOptions(
        max_polling_seconds=seconds_of(given.get("maxPollingInterval", "00:01:00")),
        visibility_seconds=seconds_of(given.get("visibilityTimeout", "00:00:00")),
        batch_size=given.get("batchSize", 16),
        new_batch_threshold=given.get("newBatchThreshold"),
        max_dequeue_count=given.get("maxDequeueCount", 5),
        encoding=given.get("messageEncoding", "base64"),
    )
    if not 1 <= options.batch_size <= 32 or options.threshold < 0 or options.max_dequeue_count < 1:  # noqa: PLR2004
        raise ToolError("host.json: batchSize is 1 to 32, newBatchThreshold at least 0, maxDequeueCount at least 1")
    if options.encoding not in ("base64", "none"):
        raise ToolError('host.json: messageEncoding is "base64" or "none"')
    return options


def seconds_of(text: str) -> float:
    """Read a .NET TimeSpan such as `00:00:30` as seconds.

    Raises:
        ToolError: it is not one.
    """
    match = _TIME_SPAN.fullmatch(text)
    if match is None:
        raise ToolError(f"{text!r} is not a time such as 00:00:30")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class QueueListener:
    """Receives the messages of one queue, and calls a function with each."""

    def __init__(
        self,
        name: str,
        call: Callable[[Any], None],
        queue: Callable[[str], QueueClient],
        queue_name: str,
        options: QueueOptions,
        *,
        invisible_seconds: float,
    ) -> None:
        self.name = name
        self._call = call
        self._queue = queue(queue_name)
        self._poison = None if queue_name.endswith("-poison") else queue(f"{queue_name}-poison")
        self._options = options
        self._invisible_seconds = invisible_seconds
        self._running = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(options.batch_size + options.threshold, thread_name_prefix=name)

    def start(self) -> None:
        """Listen in a thread of its own."""
        threading.Thread(target=self._listen, name=f"{self.name}-listener", daemon=True).start()

    def stop(self) -> None:
        """Receive no more messages. Those that are worked on go on."""
        self._stopped.set()

    def _listen(self) -> None:
        delay = _SHORTEST_POLL_SECONDS
        while not self._stopped.is_set():
            with self._room:
                self._room.wait_for(lambda: self._running <= self._options.threshold, timeout=1)
                if self._running > self._options.threshold:
                    continue
            found = self._receive()
            delay = _SHORTEST_POLL_SECONDS if found else min(2 * delay, self._options.max_polling_seconds)
            if not found:
                self._stopped.wait(delay)

    def _receive(self) -> bool:
        found = False
        try:
            # One page, which is a whole batch. A page of the SDK has one message by default, and it would ask for pages
            # until the queue is empty.
            messages = self._queue.receive_messages(
                messages_per_page=self._options.batch_size, visibility_timeout=int(self._invisible_seconds)
            )
            for message in next(messages.by_page(), ()):
                found = True
                with self._lock:
                    self._running += 1
                self._pool.submit(self._work, message)
        except ResourceNotFoundError:
            # A queue that is not there yet is an empty one.
            return False
        except AzureError as exc:
            _log.warning("%s: the queue cannot be read: %s", self.name, type(exc).__name__)
        return found

    def _work(self, message: QueueMessage) -> None:
        try:
            self._process(message)
        except AzureError as exc:
            # Its receipt is stale, or the queue does not answer: the message comes again.
            _log.warning("%s: a message could not be settled: %s", self.name, type(exc).__name__)
        finally:
            with self._room:
                self._running -= 1
                self._room.notify_all()

    def _process(self, message: QueueMessage) -> None:
        count = message.dequeue_count or 0
        body = self._decoded(message)
        if body is None or count > self._options.max_dequeue_count:
            self._move(message, message.pop_receipt)
            return
        renewal = _Renewal(self._queue, message, self._invisible_seconds)
        try:
            succeeded = self._run(message, body)
        finally:
            receipt = renewal.stop()
        if succeeded:
            self._queue.delete_message(message.id, receipt)
        elif count >= self._options.max_dequeue_count:
            self._move(message, receipt)
        else:
            self._queue.update_message(
                message.id,
                receipt,
                content=message.content,
                visibility_timeout=int(self._options.visibility_seconds),
            )

    def _decoded(self, message: QueueMessage) -> bytes | None:
        if self._options.encoding == "none":
            return str(message.content).encode()
        try:
            return base64.b64decode(str(message.content), validate=True)
        except (binascii.Error, ValueError):
            _log.error("%s: a message is not in base64", self.name)
            return None

    def _run(self, message: QueueMessage, body: bytes) -> bool:
        metadata = {
            "Id": Datum(message.id, "string"),
            "DequeueCount": Datum(str(message.dequeue_count), "string"),
            "PopReceipt": Datum(message.pop_receipt, "string"),
        }
        invocation = uuid.uuid4()
        _log.info("Executing '%s' (Id=%s)", self.name, invocation)
        try:
            self._call(QueueMessageInConverter.decode(Datum(body, "bytes"), trigger_metadata=metadata))
        except Exception:  # noqa: BLE001 - the host outlives every error
            _log.exception("Executed '%s' (Failed, Id=%s)", self.name, invocation)
            return False
        _log.info("Executed '%s' (Succeeded, Id=%s)", self.name, invocation)
        return True

    def _move(self, message: QueueMessage, receipt: str | None) -> None:
        # Copied, then deleted: a crash in between leaves both, as in the real host.
        if self._poison is not None:
            with suppress(ResourceExistsError):
                self._poison.create_queue()
            self._poison.send_message(message.content, time_to_live=-1)
            _log.error("%s: message %s was moved to the poison queue", self.name, message.id)
        self._queue.delete_message(message.id, receipt)


class _Renewal:
    """Keeps a message unseen while a function works on it."""

    def __init__(self, queue: QueueClient, message: QueueMessage, invisible_seconds: float) -> None:
        self._queue = queue
        self._message = message
        self._seconds = invisible_seconds
        self._receipt = message.pop_receipt
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renewal", daemon=True)
        self._thread.start()

    def stop(self) -> str | None:
        """End, and return the receipt that the message has now."""
        self._ended.set()
        self._thread.join()
        return self._receipt

    def _run(self) -> None:
        while not self._ended.wait(self._seconds / 2):
            try:
                renewed = self._queue.update_message(
                    self._message.id,
                    self._receipt,
                    content=self._message.content,
                    visibility_timeout=int(self._seconds),
                )
            except AzureError as exc:  # noqa: PERF203 - it is a loop for that
                _log.warning("a message could not be renewed: %s", type(exc).__name__)
            else:
                self._receipt = renewed.pop_receipt


class Timer:
    """Calls a function by a schedule of six fields, as NCRONTAB writes them: numbers, `*`, `*/n`, ranges and lists."""

    def __init__(self, name: str, call: Callable[[Any], None], schedule: str) -> None:
        self.name = name
        self._call = call
        self._fields = parse_schedule(schedule)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Wait in a thread of its own."""
        threading.Thread(target=self._run, name=f"{self.name}-timer", daemon=True).start()

    def stop(self) -> None:
        """Call it no more."""
        self._stopped.set()

    def _run(self) -> None:
        last = int(time.time())
        while not self._stopped.wait(0.2):
            now = int(time.time())
            due = any(self._is_due(second) for second in range(last + 1, min(now, last + 120) + 1))
            last = now
            if due:
                self.run_once()

    def _is_due(self, second: int) -> bool:
        at = datetime.fromtimestamp(second, tz=timezone.utc)
        values = (at.second, at.minute, at.hour, at.day, at.month, at.isoweekday() % 7)
        return all(value in field for value, field in zip(values, self._fields, strict=True))

    def run_once(self) -> None:
        """Call the function now."""
        invocation = uuid.uuid4()
        datum = Datum(json.dumps({"IsPastDue": False}), "json")
        try:
            self._call(TimerRequestConverter.decode(datum, trigger_metadata={}))
        except Exception:  # noqa: BLE001 - the host outlives every error
            _log.exception("Executed '%s' (Failed, Id=%s)", self.name, invocation)
        else:
            _log.info("Executed '%s' (Succeeded, Id=%s)", self.name, invocation)


_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_FIELD = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")


def parse_schedule(text: str) -> tuple[frozenset[int], ...]:
    """Read a schedule of six fields: second, minute, hour, day, month, day of the week.

    Raises:
        ToolError: it cannot be read.
    """
    fields = text.split()
    if len(fields) != len(_RANGES):
        raise ToolError(f"the schedule {text!r} does not have six fields")
    return tuple(_field(field, *bounds) for field, bounds in zip(fields, _RANGES, strict=True))


def _field(text: str, lowest: int, highest: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _FIELD.fullmatch(part)
        if match is None:
            raise ToolError(f"the schedule's field {text!r} cannot be read")
        first = lowest if match[1] is None else int(match[1])
        last = highest if match[1] is None else int(match[2] or match[1])
        if not lowest <= first <= last <= highest:
            raise ToolError(f"the schedule's field {text!r} is not within {lowest} and {highest}")
        found.update(range(first, last + 1, int(match[3] or 1)))
    return frozenset(found)
