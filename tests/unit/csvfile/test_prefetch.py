from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from shared.csvfile.prefetch import prefetch
from tools.process import wait_until


def blocks(count: int, size: int = 10) -> Generator[bytes, None, None]:
    for number in range(count):
        yield bytes([number]) * size


def test_the_same_items_in_the_same_order() -> None:
    with prefetch(blocks(100), most_bytes=35, name="test") as ahead:
        assert list(ahead) == list(blocks(100))


def test_an_item_larger_than_the_limit_finds_room() -> None:
    with prefetch(blocks(3, size=1000), most_bytes=1, name="test") as ahead:
        assert [len(item) for item in ahead] == [1000] * 3


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Generator[bytes, None, None]:
        yield from blocks(3)
        raise ValueError("the fourth")

    with prefetch(broken(), most_bytes=100, name="test") as ahead:
        assert [next(ahead) for _ in range(3)] == list(blocks(3))
        with pytest.raises(ValueError, match="the fourth"):
            next(ahead)


def test_it_goes_no_further_ahead_than_it_may() -> None:
    made = 0

    def counted() -> Generator[bytes, None, None]:
        nonlocal made
        for item in blocks(50):
            made += 1
            yield item

    with prefetch(counted(), most_bytes=30, name="test") as ahead:
        next(ahead)
        # One was taken, three wait, one is in the thread's hand.
        assert wait_until(lambda: made >= 5, 20)
        # And that is all: a thread that went on would not wait so long.
        assert not wait_until(lambda: made > 5, 0.2)


def test_a_reader_that_stops_early_leaves_no_thread_and_closes_the_generator() -> None:
    closed = threading.Event()

    def watched() -> Generator[bytes, None, None]:
        try:
            yield from blocks(50)
        finally:
            closed.set()

    with prefetch(watched(), most_bytes=30, name="left-over") as ahead:
        next(ahead)
    assert closed.is_set()
    assert "left-over" not in {thread.name for thread in threading.enumerate()}


def test_the_generator_runs_in_one_other_thread() -> None:
    threads = set()

    def watched() -> Generator[bytes, None, None]:
        try:
            for item in blocks(3):
                threads.add(threading.current_thread().name)
                yield item
        finally:
            threads.add(threading.current_thread().name)

    with prefetch(watched(), most_bytes=1, name="other") as ahead:
        list(ahead)
    assert threads == {"other"}
