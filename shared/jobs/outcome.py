"""What an operation ends with: the record's last attributes, and the answer that its result gives."""

from __future__ import annotations

import json
from typing import Any

from shared.api.handle import HttpAnswer, Outcome, error_reply, new_report
from shared.api.render import error_answer, success_answer
from shared.errors import RestoreCanceled, RestoreError
from shared.jobs.operation import Operation, now
from shared.model.answer import Answer
from shared.model.monitor import Status
from shared.model.report import Report


def ending(status: Status, outcome: Outcome, report: Report) -> dict[str, Any]:
    """Return the attributes of a record whose operation has ended."""
    error, answer = outcome.error, outcome.answer
    return {
        "status": status,
        "ended": now(),
        "next_attempt": "",
        "claim": "",
        # The SDK would store an `HTTPStatus` as a text.
        "answer_status": int(answer.status),
        "answer_headers": json.dumps(answer.headers),
        "answer": answer.body,
        "error": "" if error is None else json.dumps(error_answer(error, report.request_id)["error"]),
    }


def failed(report: Report, error: RestoreError) -> Outcome:
    """Log an error, and return the outcome that it is."""
    return Outcome(error_reply(report, error), error)


def canceled_before() -> RestoreCanceled:
    """Return the error of an operation that was canceled while it waited."""
    return RestoreCanceled("the restore was canceled before it began; nothing was changed")


def ending_canceled() -> dict[str, Any]:
    """Return the attributes of a record whose operation is canceled while it waits."""
    report = new_report()
    return {"is_canceled": True, **ending("Canceled", failed(report, canceled_before()), report)}


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


def answer_of(operation: Operation) -> HttpAnswer:
    """Return what the synchronous call would have answered; the operation has ended."""
    return HttpAnswer(operation.answer_status, json.loads(operation.answer_headers), operation.answer)
