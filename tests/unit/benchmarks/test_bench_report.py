from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.plot import draw
from benchmarks.report import all_figures, conditions, write_report
from benchmarks.results import Result, Series, load, save
from tests.unit.benchmarks.fix_bench import result, series
from tools.config import REPOSITORY

SVG = "{http://www.w3.org/2000/svg}"


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")] for line in lines]


def some() -> list[Result]:
    ways: dict[str, Series | Sequence[float] | str] = {
        "psql": series(8, 9, 7, cpu=6),
        "default": series(4, 4.5, 3.5, memory=100, disk=50, cpu=3),
        "stream": "failed",
    }
    return [result(ways), result(ways, rows=300_000), result({"psql": (1,)}, case="none")]


def test_targets_are_shown_beside_the_figures() -> None:
    known = result({"psql": series(8, 9, 7, cpu=6), "spool": series(4, 4.5, 3.5, cpu=3)})
    header, rule, *rows = cells(report.report([known]).split("## ")[2])
    assert all(len(row) == len(header) for row in (rule, *rows))
    (row,) = [row for row in rows if row[0] == "fresh day, text, against psql"]
    assert row[2:] == [
        "1",
        "spool",
        "at least 2.2 times as fast",
        "2.00 times as fast (2.00 - 2.00)",
        "2.00",
        "missed by 9%",
    ]


def test_figures_of_a_case() -> None:
    text = all_figures(some())
    assert text.count("### ") == 2
    header, rule, *rows = cells(text.split("### ")[1])
    assert all(len(row) == len(header) for row in (rule, *rows))
    assert [row[0] for row in rows] == ["0.3", "0.3", "1", "1"]
    assert rows[2][1:4] == ["zcat ¦ psql \\copy", "8.00 (7.00 - 9.00)", "1.00 (1.00 - 1.00)"]
    assert rows[3][2:9] == ["4.00 (3.50 - 4.50)", "2.00 (2.00 - 2.00)", "4.00", "100", "50", "3.00", "-"]
    assert rows[1][2:7] == ["4.00 (3.50 - 4.50)", "2.00 (2.00 - 2.00)", "13.33", "100", "50"]
    assert text.count("Not timed: this project, stream, text (failed).") == 1


def test_figures_of_different_code_are_told() -> None:
    assert conditions([]) == "Nothing was measured yet."
    one = result({"psql": (1,)})
    other = replace(one, when="2026-02-03T00:00:00+00:00")
    assert conditions([one, other]) == conditions([one]).replace("02, commit abc.", "02 to 2026-02-03, commit abc.")
    other = replace(other, commit="def")
    assert conditions([one]).startswith("Measured 2026-01-02, commit abc.\n")
    assert conditions([one, other]).startswith("Measured 2026-01-02 to 2026-02-03, commit abc, def. **")


def test_results_are_kept_and_replaced(tmp_path: Path) -> None:
    for one in some():
        save(one, tmp_path)
    save(result({"psql": (3,)}, case="none"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "forky-key-1000000.json",
        "forky-key-300000.json",
        "forky-none-1000000.json",
    ]
    big, small, none = load(tmp_path)
    assert [big, small] == some()[:2]
    assert none.ways["psql"].seconds == [3]


def test_the_report_and_its_chart_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "BENCH", tmp_path)
    monkeypatch.setattr(report, "REPOSITORY", tmp_path.parent)
    write_report([])
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    write_report(some())
    text = (tmp_path / "report.md").read_text()
    assert all(part in text for part in (conditions(some()), all_figures(some())))
    assert text in capsys.readouterr().out
    assert (tmp_path / "performance.svg").read_text() == draw(some())


def test_the_chart_is_a_small_svg_of_the_medians_and_the_most() -> None:
    large = result({"psql": (90, 80, 85), "default": series(40, memory=120, disk=0)}, rows=10_000_000)
    other = result({"psql": (7,), "floor": (3,)}, server="trixie", version="2.19.3")
    text = draw([*some(), large, other])
    assert text == draw([*some(), large, other])
    assert len(text) < 100_000
    root = ET.fromstring(text)  # noqa: S314 - our own
    texts = [one.text for one in root.iter(f"{SVG}text")]
    titles = {"seconds (logarithmic)", "peak memory of the process, MiB", "peak temporary disk, MiB", "million rows"}
    ways = {r"zcat | psql \copy", "this project, as it comes", "floor: COPY into a plain table, then its indexes"}
    assert {other.title, large.title, "0.3", "10", *titles, *ways} <= set(texts)
    # The medians of psql at three sizes, from left to right: the first two are the same, the third is higher.
    psql = [one.attrib.get("d", "") for one in root.iter(f"{SVG}path") if one.attrib.get("stroke") == "#000000"]
    (line,) = [one for one in psql if one.count("L") == 2]
    (x1, y1), (x2, y2), (x3, y3) = [map(float, point.split(",")) for point in line[1:].split("L")]
    assert x1 < x2 < x3
    assert y1 == y2 > y3


def test_without_figures_there_is_no_chart() -> None:
    assert draw([]) == ""
    assert draw([result({"psql": (1,)}, case="none")]) == ""


def test_the_chart_in_the_docs_is_one_of_this_module() -> None:
    text = (REPOSITORY / "docs" / "performance.svg").read_text()
    assert len(text) < 100_000
    assert "peak temporary disk, MiB" in text
