"""The queue of notes that nobody waits for."""

from __future__ import annotations

import threading

import pytest

from shared.jobs import day_notes
from shared.jobs.day_notes import DayNote, write_day_soon
from shared.settings import Settings, load_settings


def test_a_full_queue_of_notes_leaves_one_out_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a storage account that does not answer, while restores end."""
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    monkeypatch.setattr(day_notes, "_MOST_WAITING", 2)
    answers, begun, written = threading.Event(), threading.Event(), list[str]()

    def write(_: Settings, note: DayNote) -> None:
        begun.set()
        assert answers.wait(20)
        written.append(note.day)

    monkeypatch.setattr(day_notes, "write_day", write)
    day_notes._waiting.cache_clear()
    try:
        settings = load_settings()
        write_day_soon(settings, DayNote("db|s.t", "2025-01-01", {}))
        assert begun.wait(20)
        for day in range(2, 6):
            write_day_soon(settings, DayNote("db|s.t", f"2025-01-0{day}", {}))
        assert written == []
        left_out = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert left_out == [f"the note of db|s.t 2025-01-0{day} is left out: too many wait" for day in (4, 5)]
        answers.set()
        day_notes._waiting().join()
        assert written == ["2025-01-01", "2025-01-02", "2025-01-03"]
        write_day_soon(settings, DayNote("db|s.t", "2025-01-06", {}))
        day_notes._waiting().join()
        assert written[-1] == "2025-01-06"
    finally:
        answers.set()
        day_notes._waiting.cache_clear()
