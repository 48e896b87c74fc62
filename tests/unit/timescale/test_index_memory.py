"""The memory for the build of an index."""

from __future__ import annotations

import pytest

from shared.process import MIB
from shared.timescale.indexes.memory import ServerMemory, build_memory


@pytest.mark.parametrize(
    ("own", "shared", "day", "expected"),
    [
        (64, 512, 1000, 128),  # a small server: a quarter of shared_buffers
        (64, 128, 1000, 64),  # a tiny one: its own
        (64, 8192, 1000, 256),  # more is of no use
        (64, 8192, 100, 100),  # the day needs no more
        (64, 8192, 3, 64),
        (512, 8192, 1000, 512),  # never less than the server's own
    ],
)
def test_by_the_day_and_the_server(own: int, shared: int, day: int, expected: int) -> None:
    assert (
        build_memory(ServerMemory(own * MIB, is_chosen=False, shared_buffers=shared * MIB), day * MIB + 77)
        == expected * MIB
    )


def test_what_somebody_has_chosen_stays() -> None:
    assert build_memory(ServerMemory(1500 * 1024, is_chosen=True, shared_buffers=8192 * MIB), 1000 * MIB) == 1500 * 1024
