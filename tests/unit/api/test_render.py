from __future__ import annotations

import json

from shared.api.render import error_answer
from shared.errors import Fault, InternalError, InvalidRequest


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
            "retry": "fix",
            "details": [{"code": "InvalidValue", "message": "bad", "target": "pg.port", "line": 3}],
        },
        "request_id": "id",
    }


def test_our_own_bug_shows_the_id_alone() -> None:
    answer = json.dumps(error_answer(InternalError("secret inside"), "the-id"))
    assert "secret inside" not in answer
    assert "the-id" in answer
