"""The hint of an error where it is shown: with an operation that goes on, with a day of a backfill."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.api.render import error_answer
from shared.backfills.request import parse_backfill
from shared.errors import DataRejected, InvalidRequest, RestoreCanceled, RestoreError, RestoreInProgress, WindowNotEmpty
from shared.jobs.monitor import shown_error
from shared.jobs.operation import AskedOperation, BackfillOperation, DayOperation, RestoreOperation
from shared.model.monitor import Status
from shared.settings import load_settings

ASKED: dict[str, Any] = {"request": "{}", "archive": "archive", "database": "db", "target_table": "public.t"}
RESTORE = RestoreOperation(id="one", created="", day="2025-01-01", **ASKED)
DAY = DayOperation(id="day", created="", day="2025-01-01", backfill="whole", **ASKED)
BACKFILL = BackfillOperation(id="whole", created="", parallel=1, phase="run", **ASKED)


def hint(operation: AskedOperation, status: Status, error: RestoreError) -> str:
    stored = json.dumps(error_answer(error, "")["error"])
    return str(shown_error(replace(operation, status=status, error=stored))["hint"])


@pytest.mark.parametrize("operation", [RESTORE, DAY, BACKFILL])
@pytest.mark.parametrize("status", ["NotStarted", "Running"])
def test_nobody_is_asked_to_act_while_it_goes_on(operation: AskedOperation, status: Status) -> None:
    assert hint(operation, status, RestoreInProgress("busy")) == "it is tried again without a further call"


def test_after_a_cancel_the_same_id_is_canceled() -> None:
    assert "under another one" in hint(RESTORE, "Canceled", RestoreCanceled("x"))
    assert "retry the backfill" in hint(BACKFILL, "Canceled", RestoreCanceled("x"))
    of_day = hint(DAY, "Canceled", RestoreCanceled("x"))
    assert "retry the backfill" in of_day
    assert "send the request" not in of_day


def test_the_hint_of_a_day_names_what_a_backfill_takes() -> None:
    of_day = hint(DAY, "Failed", WindowNotEmpty("rows"))
    assert "on_existing" not in of_day
    assert "new backfill" in of_day
    for error in (
        DataRejected("x", hint='set destination.on_existing to "append"'),
        RestoreInProgress("x", hint="wait, then send the request again"),
    ):
        own, _, of_backfill = hint(DAY, "Failed", error).rpartition("; to try this day again, retry its backfill; ")
        assert own == error.hint
        assert of_backfill.startswith("to change the request, send a new backfill, in which existing stands for")
        assert hint(RESTORE, "Failed", error) == error.hint
    # A backfill refuses the field of one day.
    with pytest.raises(InvalidRequest):
        parse_backfill(
            b'{"adls_url": "abfss://a@b.dfs.core.windows.net/db/s.t.{date}.csv.gz", "dates": ["2025-01-01"],'
            b' "destination": {"on_existing": "skip"}}',
            load_settings(),
        )
