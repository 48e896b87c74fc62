from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ArchiveNotFound
from shared.log_line import log_line
from shared.report import Report


@given(st.text())
def test_the_log_line_stays_one_line_whatever_it_holds(text: str) -> None:
    report = Report("id", archive_url=text, target_table=text)
    line = log_line(report, ArchiveNotFound(text))
    assert "\n" not in line
    assert "\r" not in line
    assert line.isprintable()
    assert line.startswith("restore request_id=id outcome=ArchiveNotFound ")
