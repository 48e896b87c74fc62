"""`GET /api/health` for probes, and `GET /api/health/details` for a person."""

from __future__ import annotations

import json
from http import HTTPStatus

from shared.api.call import new_request_id
from shared.api.handle import HttpAnswer, answer_request, json_reply
from shared.health.checks import LastResult, is_well, look_at_all, shown

last_result = LastResult()


def get_health() -> HttpAnswer:
    """Say whether the app is well, and nothing more: anybody may ask. Raises nothing."""
    well = last_result.is_well(new_request_id())
    return HttpAnswer(_status(well=well), {}, json.dumps({"status": _word(well=well)}) + "\n")


def get_details() -> HttpAnswer:
    """Say what was looked at just now, and what it showed. Raises nothing."""
    request_id = new_request_id()

    def answer() -> HttpAnswer:
        checks = look_at_all(request_id)
        well = is_well(checks)
        body = {"status": _word(well=well), "checks": list(shown(checks))}
        return json_reply(_status(well=well), body, request_id=request_id)

    return answer_request(request_id, answer)


def _status(*, well: bool) -> int:
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE


def _word(*, well: bool) -> str:
    return "ok" if well else "failed"
