from __future__ import annotations

import pytest

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
