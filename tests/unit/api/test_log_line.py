from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from shared.api.log_line import log_line, progress_line, start_line
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


def test_a_load_that_started_over_says_so() -> None:
    report = Report("id")
    report.progress.loads = 1
    assert "loads=" not in log_line(report)
    report.progress.loads = 2
    report.indexes_kept = (KeptIndex(None, "RowRefused", "x"), KeptIndex("i", "Twin", "x"), KeptIndex("j", "Twin", "x"))
    report.text_because = "a byte is zero"
    assert ' text_because="a byte is zero" indexes_kept=RowRefused,Twin loads=2 ' in log_line(report)


def test_the_error_comes_right_after_the_outcome() -> None:
    line = log_line(Report("id", archive_url="u"), ArchiveNotFound("no such file"))
    assert line.startswith('restore request_id=id outcome=ArchiveNotFound error="no such file" ')
    assert "rows" not in line


def test_stages_that_took_no_time_are_left_out() -> None:
    report = Report("id")
    with report.progress.stage("inspect"):
        time.sleep(0.01)
    with report.progress.stage("decompress"):
        pass
    line = log_line(report)
    assert " inspect_s=" in line
    assert "decompress_s" not in line
    assert " total_s=" in line


def test_the_lines_at_the_start_and_meanwhile() -> None:
    report = Report("id", archive_url="u", database="d", target_table="s.t", mode="direct")
    assert start_line(report) == "restore-start request_id=id archive=u database=d target=s.t mode=direct"
    report.progress.compressed_bytes, report.progress.compressed_bytes_total = 1_260_000, 5_040_000
    report.progress.records, report.progress.has_header = 8, True
    with report.progress.stage("copy"):
        line = progress_line(report)
    assert line.startswith("restore-progress request_id=id stage=copy percent=25.0 mb=1.3 rows_read=7 seconds=")
    report.progress.csv_bytes = 2_340_000
    assert " rows_read=7 csv_mb=2.3 seconds=" in progress_line(report)
    report.progress.csv_bytes_total = 23_400_000
    assert " percent=10.0 mb=1.3 " in progress_line(report)
