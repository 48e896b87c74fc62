from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from shared.errors import RestoreCanceled
from shared.progress import cancelable
from shared.progress.progress import Progress


def test_a_stage_that_is_entered_again_adds_up_and_a_failed_one_is_named() -> None:
    progress = Progress()
    for _ in range(2):
        with progress.stage("copy"):
            pass
    assert progress.stage_name is None
    with pytest.raises(KeyError), progress.stage("commit"):
        raise KeyError
    assert progress.stage_name == "commit"
    assert list(progress.seconds()) == ["copy", "commit", "total"]


class Hanging:
    """An interrupt that does not come back until it is let go, as one over a network that delivers nothing."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self._may_end = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.has_begun.set()
        assert self._may_end.wait(30)

    def let_go(self) -> None:
        self._may_end.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    interrupt = Hanging()
    yield interrupt
    interrupt.let_go()


@pytest.fixture
def progress() -> Iterator[Progress]:
    made = Progress()
    yield made
    made.end()


def ends_soon(action: Callable[[], object]) -> bool:
    """Whether an action ends while an interrupt hangs."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(1)
    return not thread.is_alive()


def refused(progress: Progress) -> None:
    with pytest.raises(RestoreCanceled):
        progress.refuse_cancels()


def test_nobody_but_the_end_of_the_body_waits_for_an_interrupt(progress: Progress, hanging: Hanging) -> None:
    """The heartbeat cancels again at each beat, and would let its claim run out."""
    may_end = threading.Event()

    def body() -> None:
        with progress.interruptible(hanging):
            assert may_end.wait(30)

    running = threading.Thread(target=body, daemon=True)
    running.start()
    progress.cancel()
    assert hanging.has_begun.wait(5)
    assert ends_soon(progress.cancel)
    assert ends_soon(lambda: refused(progress))
    may_end.set()
    running.join(0.5)
    assert running.is_alive()
    hanging.let_go()
    running.join(5)
    assert not running.is_alive()


def test_the_end_of_the_body_does_not_wait_forever(
    progress: Progress, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelable, "PATIENCE_SECONDS", 0.1)

    def body() -> None:
        with progress.interruptible(hanging):
            progress.cancel()
            assert hanging.has_begun.wait(5)

    assert ends_soon(body)


def test_nothing_is_interrupted_while_no_cancel_is_taken(progress: Progress, hanging: Hanging) -> None:
    with progress.interruptible(hanging):
        progress.refuse_cancels()
        progress.cancel()
        assert not hanging.has_begun.wait(1.2)
        progress.take_cancels()
        assert hanging.has_begun.wait(5)
        hanging.let_go()
