"""The answer of an operation: as it is recorded, and as another attempt completes it after a COMMIT."""

from __future__ import annotations

import json
from typing import Any

from shared.api.handle import HttpAnswer
from shared.api.render import success_answer
from shared.jobs.operation import AskedOperation
from shared.model.answer import Answer
from shared.model.report import Report


def continued(answer: Answer, report: Report) -> dict[str, Any]:
    """Return the answer that was prepared before a COMMIT, with what was done after it by another attempt."""
    after = success_answer(report)
    merged: dict[str, Any] = dict(answer)
    merged["chunks"] = [*answer["chunks"], *after["chunks"]]
    merged["caggs"] = after["caggs"]
    merged["timescaledb"] = {**answer["timescaledb"], **after["timescaledb"]}
    merged["warnings"] = [*answer["warnings"], *(one for one in after["warnings"] if one not in answer["warnings"])]
    merged["status"] = "ok_with_warnings" if merged["warnings"] else "ok"
    return merged


def answer_of(operation: AskedOperation) -> HttpAnswer:
    """Return what the synchronous call would have answered; the operation has ended."""
    return HttpAnswer(operation.answer_status, json.loads(operation.answer_headers), operation.answer)
