from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.cases import Way
from benchmarks.function import unknown_fields
from benchmarks.page import PAGE, README, sections, splice, write_docs
from benchmarks.plot import Line, Panel, Row, draw, rows, ticks
from benchmarks.report import all_figures, conditions, growth_table, targets_table
from benchmarks.results import Result, Series, kept, load, save
from benchmarks.summary import summary
from benchmarks.targets import judge
from tests.unit.benchmarks.fix_bench import result, series
from tools.config import ToolError

SVG = "{http://www.w3.org/2000/svg}"


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")] for line in lines]


def some() -> list[Result]:
    ways: dict[str, Series | Sequence[float] | str] = {
        "psql": series(8, 9, 7, cpu=6),
        "default": series(4, 4.5, 3.5, memory=100, disk=50, cpu=3),
        "stream": "not available: copy.transfer",
    }
    return [result(ways), result(ways, rows=300_000), result({"psql": (1,)}, case="none")]


def test_targets_stand_beside_the_figures() -> None:
    known = result({"psql": series(8, 9, 7, cpu=6), "spool": series(4, 4.5, 3.5, cpu=3)})
    header, rule, *rows = cells(targets_table(judge([known])))
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
    assert rows[3][2:8] == ["4.00 (3.50 - 4.50)", "2.00 (2.00 - 2.00)", "100", "50", "3.00", "-"]
    assert text.count("Not timed: this project, stream, text (not available: copy.transfer).") == 1


def test_growth_shows_the_ways_whose_memory_is_known() -> None:
    _, _, *rows = cells(growth_table(some()))
    assert [row[1:] for row in rows] == [
        ["this project, as it comes", "0.3", "13.33", "100", "50"],
        ["this project, as it comes", "1", "4.00", "100", "50"],
    ]


def test_figures_of_different_code_are_told() -> None:
    assert conditions([]) == "Nothing was measured yet."
    one = result({"psql": (1,)})
    other = replace(one, commit="def", when="2026-02-03T00:00:00+00:00")
    assert conditions([one, other]) == conditions([one]).replace(
        "02, commit abc.", "02 to 2026-02-03, commit abc, def."
    )
    other = replace(other, code="another")
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
    assert kept("forky", "none", 1_000_000, tmp_path) == none
    assert kept("forky", "none", 300_000, tmp_path) is None


def test_only_figures_of_the_same_code_and_server_go_on() -> None:
    known = replace(result({"psql": (1,)}), code="a")
    assert known.goes_on(replace(known, when="later", commit="another", ways={}))
    changes: list[dict[str, Any]] = [{"code": "b"}, {"title": "another"}, {"settings": {}}, {"rows": 1}, {"cores": 64}]
    assert not any(known.goes_on(replace(known, **change)) for change in changes)
    # Nobody knows of what code it is.
    assert not replace(known, code="").goes_on(replace(known, code=""))


def test_the_page_takes_the_report_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, readme = tmp_path / "performance.md", tmp_path / "README.md"
    copy.write_text(PAGE.read_text())
    readme.write_text(README.read_text())
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "README", readme)
    monkeypatch.setattr(page, "_shown", str)
    write_docs(some())
    once = copy.read_text()
    write_docs(some())
    assert copy.read_text() == once
    assert all(part in once for part in sections(some()).values())
    assert (tmp_path / "performance.svg").exists()
    assert f"\n\n{summary(some(), judge(some()))}\n\n<!-- bench end -->" in readme.read_text()
    with pytest.raises(ToolError, match="nothing was measured"):
        write_docs([])


@pytest.mark.parametrize(
    "text", ["", "<!-- bench: a -->\n<!-- bench end -->" * 2, "<!-- bench: b -->\n<!-- bench end -->"]
)
def test_a_page_without_its_marker_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="places for a in place of one"):
        splice(text, {"a": "x"})


def test_a_backslash_stays_one() -> None:
    assert "\\1 \\copy" in splice("<!-- bench: a -->\nold<!-- bench end -->", {"a": "\\1 \\copy"})


@pytest.mark.parametrize(
    ("low", "high", "logarithmic", "expected"),
    [
        (0.7, 12, True, [0.5, 1, 2, 5, 10, 20]),
        (5, 5, True, [5, 10]),
        (1, 1000, True, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (0, 150, False, [0, 50, 100, 150]),
        (0, 151, False, [0, 50, 100, 150, 200]),
        (0, 0, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, logarithmic: bool, expected: list[float]) -> None:
    assert ticks(low, high, is_logarithmic=logarithmic) == pytest.approx(expected)


def test_the_panels_hold_the_medians_and_the_most() -> None:
    (row,) = rows(some())
    seconds, memory, disk = row.panels
    assert seconds.is_logarithmic
    assert seconds.lines == (Line("psql", ((3e5, 8), (1e6, 8))), Line("default", ((3e5, 4), (1e6, 4))))
    assert memory.lines == (Line("default", ((3e5, 100), (1e6, 100))),)
    assert disk.lines == (Line("default", ((3e5, 50), (1e6, 50))),)


def test_the_picture_is_an_svg_with_every_point_inside() -> None:
    lines = (Line("psql", ((3e5, 2.4), (1e6, 9), (1e7, 130))), Line("floor", ((1e6, 4),)))
    empty = Panel("a < b & c", ())
    root = ET.fromstring(  # noqa: S314 - our own
        draw([Row("server", (Panel("seconds", lines, is_logarithmic=True), Panel("memory", lines), empty))])
    )
    assert root.tag == f"{SVG}svg"
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter(f"{SVG}circle")]
    assert len(dots) == 8
    assert all(0 <= x <= 300 and 0 <= y <= 220 for x, y in dots)
    # The more seconds, the higher; the more rows, the further right.
    assert dots[0][0] < dots[1][0] < dots[2][0]
    assert dots[0][1] > dots[1][1] > dots[2][1]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"server", "a < b & c", "not measured", "0.3", "10", "zcat | psql \\copy"} <= set(texts)


def test_lines_that_lie_upon_each_other_all_show() -> None:
    names = ("default", "stream", "staging", "psql", "floor")
    flat = [Line(name, ((3e5, 0), (1e6, 0))) for name in names[:3]]
    apart = [Line("psql", ((3e5, 0), (1e6, 50))), Line("floor", ((1e6, 50.5),))]
    root = ET.fromstring(draw([Row("server", (Panel("disk", (*flat, *apart)),))]))  # noqa: S314 - our own
    (panel,) = root.iter(f"{SVG}g")
    drawn = [path.attrib for path in panel.iter(f"{SVG}path") if path.attrib.get("stroke-width") == "2"]
    assert [line.get("stroke-dasharray") for line in drawn] == [None, "9 9", "5 13", None, "9 9"]
    assert len({line["stroke"] for line in drawn}) == len(names)


def refused(*faults: tuple[str, str], code: str = "InvalidRequest") -> dict[str, object]:
    details = [{"code": fault, "target": target} for fault, target in faults]
    return {"error": {"code": code, "details": details}}


def test_only_the_fields_of_a_way_make_it_unavailable() -> None:
    request = Way("w", "w", "function", {"copy": {"transfer": "stream", "format": "text"}}).request
    both = refused(("UnknownField", "copy.transfer"), ("InvalidValue", "copy.format"))
    assert unknown_fields(request, both) == ["copy.transfer", "copy.format"]
    assert unknown_fields(request, refused(("InvalidValue", "copy"))) == ["copy"]
    # A fault of the benchmark's own, or another error, is a failure.
    assert unknown_fields(request, refused(("UnknownField", "copy.transfer"), ("MissingField", "pg.host"))) == []
    assert unknown_fields(request, refused()) == []
    assert unknown_fields(request, refused(("UnknownField", "copy.transfer"), code="StorageUnreachable")) == []
    assert unknown_fields(request, {"status": "ok"}) == []
