from __future__ import annotations

import pytest

from shared.model.report import Stopwatch


def test_a_stage_that_is_entered_again_adds_up_and_a_failed_one_is_named() -> None:
    clock = Stopwatch()
    for _ in range(2):
        with clock.stage("copy"):
            pass
    assert clock.current is None
    with pytest.raises(KeyError), clock.stage("commit"):
        raise KeyError
    assert clock.current == "commit"
    assert list(clock.seconds()) == ["copy", "commit", "total"]
