"""Where the report goes: the screen and `.work/bench`, or the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.busy import busy_section
from benchmarks.config import BENCH
from benchmarks.plot import draw, rows
from benchmarks.report import all_figures, conditions, growth_table, targets_table
from benchmarks.results import Result
from benchmarks.summary import summary
from benchmarks.targets import judge
from tools.config import REPOSITORY, ToolError

PAGE = REPOSITORY / "docs" / "performance.md"
README = REPOSITORY / "README.md"
PICTURE = "performance.svg"


def sections(results: Sequence[Result]) -> dict[str, str]:
    """Return the generated parts of the page, by the names of their markers."""
    return {
        "conditions": conditions(results),
        "targets": targets_table(judge(results)),
        # Within the part, since a page without figures has no picture.
        "growth": f"![Seconds, memory and temporary disk by rows]({PICTURE})\n\n{growth_table(results)}",
        "busy": busy_section(results),
        "figures": all_figures(results),
    }


def splice(page: str, parts: Mapping[str, str]) -> str:
    """Put each part between its markers, `<!-- bench: name -->` and `<!-- bench end -->`.

    Raises:
        ToolError: a part has no markers, or more than one pair.
    """
    for name, text in parts.items():
        pattern = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- bench end -->)", re.DOTALL)
        # A backslash in the text would be a reference.
        page, times = pattern.subn(partial(_between, text), page)
        if times != 1:
            raise ToolError(f"the page has {times} places for {name} in place of one")
    return page


def _between(text: str, match: re.Match[str]) -> str:
    return f"{match[1]}\n{text}\n\n{match[2]}"


def write_report(results: Sequence[Result]) -> None:
    """Print the report, and keep it and its picture in `.work/bench`."""
    parts = sections(results)
    text = "\n\n".join(f"## {name.capitalize()}\n\n{part}" for name, part in parts.items())
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "report.md").write_text(text + "\n")
    (BENCH / PICTURE).write_text(draw(rows(results)))
    print(f"\n{text}\n\n-- {_shown(BENCH / 'report.md')} and {PICTURE}; make bench-docs puts them into the docs")


def write_docs(results: Sequence[Result]) -> None:
    """Put the report into docs/performance.md, its picture beside it, and its sentences into the README.

    Raises:
        ToolError: nothing was measured, or a page lacks a marker.
    """
    if not results:
        raise ToolError("nothing was measured yet; run make bench")
    PAGE.write_text(splice(PAGE.read_text(), sections(results)))
    PAGE.with_name(PICTURE).write_text(draw(rows(results)))
    README.write_text(splice(README.read_text(), {"summary": summary(results, judge(results))}))
    print(f"-- {_shown(PAGE)}, {PICTURE} and {_shown(README)}")


def _shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))
