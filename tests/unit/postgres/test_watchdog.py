"""The limit of a statement on this side: a socket whose time is up is cut off, and no other one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from shared.postgres.watchdog import Watchdog

# Long enough for a thread that a busy machine keeps waiting.
PATIENCE_SECONDS = 30
NEVER_SECONDS = 3600
SOON_SECONDS = 0.05


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    watched, peer = socket.socketpair()
    stack.enter_context(watched)
    stack.enter_context(peer)
    peer.settimeout(PATIENCE_SECONDS)
    return watched, peer


def is_open(watched: socket.socket, peer: socket.socket) -> bool:
    watched.sendall(b"x")
    return peer.recv(1) == b"x"


def test_a_later_watch_with_less_time_is_cut_first(stack: ExitStack) -> None:
    watchdog = Watchdog()
    patient, patient_peer = pair(stack)
    hasty, hasty_peer = pair(stack)
    with watchdog.watch(patient, NEVER_SECONDS), watchdog.watch(hasty, SOON_SECONDS):
        assert hasty_peer.recv(1) == b""
        assert is_open(patient, patient_peer)


def test_what_has_ended_is_not_cut(stack: ExitStack) -> None:
    watchdog = Watchdog()
    ended, ended_peer = pair(stack)
    other, other_peer = pair(stack)
    with watchdog.watch(ended, SOON_SECONDS):
        pass
    # Due after the one that has ended.
    with watchdog.watch(other, 2 * SOON_SECONDS):
        assert other_peer.recv(1) == b""
    assert is_open(ended, ended_peer)


def test_one_after_the_other_is_cut(stack: ExitStack) -> None:
    watchdog = Watchdog()
    for _ in range(3):
        watched, peer = pair(stack)
        with watchdog.watch(watched, SOON_SECONDS):
            assert peer.recv(1) == b""
