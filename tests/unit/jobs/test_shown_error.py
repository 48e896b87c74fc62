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
    for error in (
        WindowNotEmpty("rows"),
        DataRejected("x", hint='set destination.on_existing to "append", or let on_existing be "skip"; then try again'),
        RestoreInProgress("x", hint="wait, then send the request again"),
    ):
        of_day = hint(DAY, "Failed", error)
        assert "on_existing" not in of_day
        assert "send the request again" not in of_day
        assert "retry" in of_day
        assert hint(RESTORE, "Failed", error) == error.hint
    # What is not said: a backfill refuses the field of one day.
    with pytest.raises(InvalidRequest):
        parse_backfill(
            b'{"adls_url": "abfss://a@b.dfs.core.windows.net/db/s.t.{date}.csv.gz", "dates": ["2025-01-01"],'
            b' "destination": {"on_existing": "skip"}}',
            load_settings(),
        )
