"""Queue and timer triggers of the local host, against a real queue: as Microsoft's host runs them, only faster."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from azure.storage.queue import QueueClient

from tests.integration.fix_app import App, job_storage_string
from tests.integration.fix_host import listens, running_host, start
from tools.config import ToolError
from tools.host import load_app
from tools.local_server import free_port
from tools.process import wait_until
from tools.triggers import QueueListener, QueueOptions

pytestmark = pytest.mark.any_server

# Each call is a line of a file: the function, the process, the dequeue count and the text.
FUNCTION = """
import os, time
from pathlib import Path
import azure.functions as func

def note(name, *words):
    with Path(os.environ["TEST_CALLS"]).open("a") as calls:
        print(name, os.getpid(), *words, file=calls)

def work(msg: func.QueueMessage):
    text = msg.get_body().decode()
    note("work", msg.dequeue_count, text)
    if text.startswith("sleep"):
        time.sleep(float(text.split()[1]))
        note("slept", msg.dequeue_count, text)
    if text.startswith("fail"):
        raise ValueError

def poison(msg: func.QueueMessage):
    note("poison", msg.dequeue_count, msg.get_body().decode())

def tick(timer: func.TimerRequest):
    note("tick", timer.past_due)

def hello(req: func.HttpRequest):
    return func.HttpResponse("x")
"""


def trigger(kind: str, name: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "direction": "in", "name": name} | more]


TWO = [*trigger("queueTrigger", "a", queueName="abc"), *trigger("timerTrigger", "b", schedule="* * * * * *")]


@dataclass
class Folder:
    """A function app of functions that note their calls."""

    root: Path
    calls: Path
    queue: QueueClient
    poison: QueueClient
    queue_name: str

    def write(self, name: str, bindings: list[dict[str, Any]], **more: Any) -> None:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").write_text(FUNCTION)
        settings = {"scriptFile": "__init__.py", "entryPoint": name, "bindings": bindings} | more
        (folder / "function.json").write_text(json.dumps(settings))

    def host_json(self, **queues: Any) -> None:
        quick = {"maxPollingInterval": "00:00:01", "visibilityTimeout": "00:00:00", "maxDequeueCount": 2} | queues
        self.root.joinpath("host.json").write_text(json.dumps({"version": "2.0", "extensions": {"queues": quick}}))

    def send(self, text: str) -> None:
        self.queue.send_message(base64.b64encode(text.encode()).decode())

    def seen(self) -> list[list[str]]:
        return [line.split(" ", 3) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []

    def texts(self, name: str) -> list[tuple[str, str]]:
        """The dequeue count and the text of each call of a function."""
        return [(line[2], line[3]) for line in self.seen() if line[0] == name]

    def environ(self) -> dict[str, str]:
        return os.environ | {"TEST_CALLS": str(self.calls)}


@pytest.fixture
def folder(app: App, tmp_path: Path) -> Iterator[Folder]:
    setting, name = job_storage_string(app.storage), f"q{uuid.uuid4().hex[:12]}"
    root = tmp_path / "app"
    root.mkdir()
    queue, poison = (QueueClient.from_connection_string(setting, text) for text in (name, f"{name}-poison"))
    found = Folder(root, tmp_path / "calls", queue, poison, name)
    found.host_json()
    found.write("hello", [*trigger("httpTrigger", "req"), {"type": "http", "direction": "out", "name": "$return"}])
    found.write("work", trigger("queueTrigger", "msg", queueName=name, connection="AzureWebJobsStorage"))
    queue.create_queue()
    yield found
    for one in (queue, poison):
        if one is queue or found.root.joinpath("poison").exists():
            one.delete_queue()


def test_messages_are_worked_on_given_up_and_left_to_another(folder: Folder, tmp_path: Path) -> None:
    folder.write("poison", trigger("queueTrigger", "msg", queueName=f"{folder.queue_name}-poison"))
    folder.write("tick", trigger("timerTrigger", "timer", schedule="* * * * * *"))
    for text in ("good", "fail", "sleep 3"):
        folder.send(text)
    folder.queue.send_message("no base64!")
    options = ("--invisible-seconds", "2")
    with running_host(folder.root, tmp_path / "host.log", folder.environ(), *options):
        assert wait_until(lambda: bool(folder.texts("slept") and folder.texts("poison")), 40), folder.seen()
        assert wait_until(lambda: not folder.queue.get_queue_properties().approximate_message_count, 20)
        assert wait_until(lambda: any(line[0] == "tick" for line in folder.seen()), 20)
    work = folder.texts("work")
    assert work.count(("1", "good")) == 1
    # Its invisibility was renewed: nobody else got it.
    assert [one for one in work if one[1] == "sleep 3"] == [("1", "sleep 3")]
    assert [one for one in work if one[1] == "fail"] == [("1", "fail"), ("2", "fail")]
    assert folder.texts("poison") == [("1", "fail")]
    assert "not in base64" in (tmp_path / "host.log").read_text()


def test_a_message_comes_back_after_a_crash(folder: Folder, tmp_path: Path) -> None:
    folder.send("sleep 60")
    host = start(folder.root, port := free_port(), tmp_path / "a.log", folder.environ(), "--invisible-seconds", "3")
    try:
        assert wait_until(lambda: bool(folder.texts("work")), 40)
        assert listens(port)
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    folder.root.joinpath("work", "__init__.py").write_text(FUNCTION.replace("time.sleep(", "(lambda _: None)("))
    with running_host(folder.root, tmp_path / "b.log", folder.environ(), "--invisible-seconds", "3"):
        assert wait_until(lambda: bool(folder.texts("slept")), 40)
    assert folder.texts("work") == [("1", "sleep 60"), ("2", "sleep 60")]


def test_several_processes_share_a_queue(folder: Folder, tmp_path: Path) -> None:
    sent: list[str] = []

    def all_have_some() -> bool:
        """A process that begins late finds work as well."""
        while len(sent) - len(folder.texts("slept")) < 24:
            sent.append(f"sleep 0.5 {len(sent)}")
            folder.send(sent[-1])
        return len({line[1] for line in folder.seen()}) == 3

    with running_host(folder.root, tmp_path / "host.log", folder.environ(), "--workers", "3"):
        assert wait_until(all_have_some, 60)
        assert wait_until(lambda: len(folder.texts("slept")) == len(sent), 60)
    assert sorted(folder.texts("work")) == sorted(("1", text) for text in sent)


@pytest.mark.parametrize(("options", "most"), [({"batchSize": 2}, 3), ({"batchSize": 3, "newBatchThreshold": 0}, 3)])
def test_a_batch_is_received_beside_those_that_still_run(
    folder: Folder, tmp_path: Path, options: dict[str, int], most: int
) -> None:
    """By default the threshold is half of `batchSize`."""
    folder.host_json(**options)
    texts = [f"sleep {seconds} {number}" for number, seconds in enumerate((4, 1, *[6] * 4))]
    for text in texts:
        folder.send(text)

    def running() -> int:
        return len(folder.texts("work")) - len(folder.texts("slept"))

    counts: list[int] = []

    def all_done() -> bool:
        counts.append(running())
        return len(folder.texts("slept")) == len(texts)

    with running_host(folder.root, tmp_path / "host.log", folder.environ()):
        assert wait_until(all_done, 60), folder.seen()
    assert max(counts) == most
    assert sorted(folder.texts("work")) == sorted(("1", text) for text in texts)


class Watched:
    """A queue that notes when it is asked for messages."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue
        self.asked: list[float] = []

    def receive_messages(self, **options: Any) -> Any:
        self.asked.append(time.monotonic())
        return self._queue.receive_messages(**options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def test_an_empty_queue_is_asked_more_and_more_seldom(folder: Folder) -> None:
    """After 0.2 s, doubled up to `maxPollingInterval`; from the start again after a message."""
    watched, calls = Watched(folder.queue), list[bytes]()
    listener = QueueListener(
        "work",
        lambda message: calls.append(message.get_body()),
        lambda _: cast("QueueClient", watched),
        folder.queue_name,
        QueueOptions(max_polling_seconds=3),
        invisible_seconds=30,
    )

    def pauses() -> list[float]:
        return [after - before for before, after in pairwise(watched.asked)]

    listener.start()
    try:
        assert wait_until(lambda: len(watched.asked) >= 6, 30)
        folder.send("text")
        assert wait_until(lambda: calls == [b"text"], 30)
        asked = len(watched.asked)
        assert wait_until(lambda: len(watched.asked) >= asked + 3, 30)
    finally:
        listener.stop()
    assert all(pause >= least for pause, least in zip(pauses(), (0.2, 0.4, 0.8, 1.6, 3), strict=False)), pauses()
    # The first pause may be none: after a message, the queue is asked at once.
    assert pauses()[asked] < 1.6, pauses()


@pytest.mark.parametrize(
    ("bindings", "said"),
    [
        (trigger("queueTrigger", "msg", queueName="No_Name"), "no name of a queue"),
        (trigger("queueTrigger", "msg", queueName="%UNSET%"), "does not resolve"),
        (trigger("queueTrigger", "msg", queueName="abc", conection="x"), "has no conection"),
        (trigger("queueTrigger", "msg"), "cannot be loaded"),
        (trigger("timerTrigger", "msg", schedule="* * * *"), "six fields"),
        (trigger("timerTrigger", "msg", schedule="99 * * * * *"), "not within"),
        (trigger("eventGridTrigger", "event"), "knows no binding"),
        (trigger("queueTrigger", "my_msg", queueName="abc"), "no binding can be called my_msg"),
        (trigger("queueTrigger", "message", queueName="abc"), "bindings are message, and its function takes msg"),
        (
            [*trigger("queueTrigger", "a", queueName="abc"), *trigger("timerTrigger", "b", schedule="* * * * * *")],
            "2 triggers",
        ),
    ],
)
def test_what_the_real_host_would_not_take(folder: Folder, bindings: list[dict[str, Any]], said: str) -> None:
    folder.write("work", bindings)
    with pytest.raises(ToolError, match=said):
        load_app(folder.root)


@pytest.mark.parametrize("name", ["1st", "a.b", "Host", "x" * 129])
def test_what_no_function_can_be_called(folder: Folder, name: str) -> None:
    folder.write(name, trigger("queueTrigger", "msg", queueName="abc"), entryPoint="work")
    with pytest.raises(ToolError, match="no function can be called that"):
        load_app(folder.root)


@pytest.mark.parametrize(
    ("queues", "said"),
    [
        ({"batchSize": 33}, "batchSize is 1 to 32"),
        ({"newBatchThreshold": -1}, "newBatchThreshold"),
        ({"maxDequeueCount": 0}, "maxDequeueCount"),
        ({"messageEncoding": "utf-8"}, "messageEncoding"),
        ({"maxPollingInterval": "2s"}, "not a time"),
        ({"batchsize": 2}, "does not know"),
    ],
)
def test_what_the_real_host_would_not_take_of_host_json(folder: Folder, queues: dict[str, Any], said: str) -> None:
    folder.host_json(**queues)
    with pytest.raises(ToolError, match=said):
        load_app(folder.root)
