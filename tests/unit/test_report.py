from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ArchiveNotFound, Fault, InternalError, InvalidRequest
from shared.report import Report, error_answer
from shared.stopwatch import Stopwatch


def test_an_error_has_the_shape_of_azures_guidelines() -> None:
    error = InvalidRequest("wrong", details=[Fault("InvalidValue", "bad", "pg.port", (("line", 3),))])
    assert error_answer(error, "id") == {
        "status": "error",
        "error": {
            "code": "InvalidRequest",
            "message": "wrong",
            "target": None,
            "hint": InvalidRequest.default_hint,
            "retryable": False,
            "details": [{"code": "InvalidValue", "message": "bad", "target": "pg.port", "line": 3}],
        },
        "request_id": "id",
    }


def test_our_own_bug_shows_the_id_alone() -> None:
    answer = json.dumps(error_answer(InternalError("secret inside"), "the-id"))
    assert "secret inside" not in answer
    assert "the-id" in answer


@given(st.text())
def test_the_log_line_stays_one_line_whatever_it_holds(text: str) -> None:
    report = Report("id", archive_url=text, target_table=text)
    line = report.log_line(ArchiveNotFound(text))
    assert "\n" not in line
    assert "\r" not in line
    assert line.isprintable()
    assert line.startswith("restore request_id=id outcome=ArchiveNotFound ")


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
