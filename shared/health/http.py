"""`GET /api/health` for probes, and `GET /api/health/details` for a person."""

from __future__ import annotations

import json
from http import HTTPStatus

from shared.api.handle import HttpAnswer, json_reply, new_report, replied
from shared.health.checks import Kept, is_well, look_at_all, shown

_kept = Kept()


def get_health() -> HttpAnswer:
    """Say whether the app is well, and nothing more: anybody may ask. Raises nothing."""
    well = _kept.is_well(new_report().request_id)
    return HttpAnswer(_status(well=well), {}, json.dumps({"status": _word(well=well)}) + "\n")


def get_details() -> HttpAnswer:
    """Say what was looked at just now, and what it showed. Raises nothing."""
    report = new_report()

    def answer() -> HttpAnswer:
        checks = look_at_all(report.request_id)
        well = is_well(checks)
        body = {"status": _word(well=well), "checks": list(shown(checks))}
        return json_reply(_status(well=well), body, request_id=report.request_id)

    return replied(report, answer).answer


def _status(*, well: bool) -> int:
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE


def _word(*, well: bool) -> str:
    return "ok" if well else "failed"
