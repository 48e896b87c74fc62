from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.api.log_line import log_line
from shared.errors import ArchiveNotFound
from shared.model.report import Report
from shared.model.results import KeptIndex


@given(st.text())
def test_the_log_line_stays_one_line_whatever_it_holds(text: str) -> None:
    report = Report("id", archive_url=text, target_table=text)
    line = log_line(report, ArchiveNotFound(text))
    assert "\n" not in line
    assert "\r" not in line
    assert line.isprintable()
    assert line.startswith("restore request_id=id outcome=ArchiveNotFound ")


def test_a_load_that_was_begun_anew_says_so() -> None:
    report = Report("id")
    report.begin_load()
    assert "loads=" not in log_line(report)
    report.begin_load()
    report.indexes_kept = (KeptIndex(None, "RowRefused", "x"), KeptIndex("i", "Twin", "x"), KeptIndex("j", "Twin", "x"))
    report.text_because = "a byte is zero"
    assert ' text_because="a byte is zero" indexes_kept=RowRefused,Twin loads=2 ' in log_line(report)
