"""Writes the output of a command: data to standard output, messages to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from restorectl.texts import plain, safe_json

Output: TypeAlias = Literal["table", "json"]

# Wide enough for every line, where no terminal would break it.
_UNLIMITED = 100_000
# The words are enough; colour only helps.
_STYLES = {
    "Succeeded": "green",
    "ok": "green",
    "restored": "green",
    "Running": "cyan",
    "running": "cyan",
    "ok_with_warnings": "yellow",
    "dry_run": "yellow",
    "skipped": "yellow",
    "canceling": "yellow",
    "stale": "yellow",
    "Canceled": "yellow",
    "Failed": "bold red",
    "failed": "bold red",
    "missing": "red",
    "archived": "magenta",
}


class _Console(Console):
    """A console whose reader may go away: the rest is not written, and the command goes on to its own exit code."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Python would fail once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        is_number: whether it is set to the right.
        rank: 0 is always shown; where the terminal is narrow, the columns of the highest rank are left out first.
    """

    name: str
    is_number: bool = False
    rank: int = 0


def _console(file: Any) -> _Console:
    # A width of its own only where there is no terminal that has one.
    width = None if file.isatty() else _UNLIMITED
    return _Console(file=file, width=width, markup=False, emoji=False, highlight=False)


class Screen:
    """Both streams of a command."""

    def __init__(self, output: Output) -> None:
        # An encoding of an old locale may lack a sign of a name.
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        self.output = output
        self.data = _console(sys.stdout)
        self.talk = _console(sys.stderr)

    @property
    def is_watched(self) -> bool:
        """Whether messages go to a terminal that can draw."""
        return sys.stderr.isatty() and not self.talk.is_dumb_terminal

    def say(self, text: str, style: str = "") -> None:
        """Write a message of one line."""
        self.talk.print(Text(plain(text), style=style), soft_wrap=not sys.stderr.isatty())

    def say_word(self, word: str, text: str, style: str) -> None:
        """Write a message that begins with a coloured word. On a terminal, its further lines are indented."""
        shown, rest = Text(plain(word), style=style), Text(plain(text))
        if not sys.stderr.isatty():
            self.talk.print(Text.assemble(shown, " ", rest), soft_wrap=True)
            return
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(shown, rest)
        self.talk.print(line)

    def print_json(self, value: Any) -> None:
        """Write data as JSON."""
        text = safe_json(json.dumps(value, indent=2, ensure_ascii=not _is_unicode(self.data.encoding)))
        self.data.out(text, highlight=False)

    def print_text(self, text: str) -> None:
        """Write data that is one line."""
        self.data.out(plain(text), highlight=False)

    def print_facts(self, facts: Mapping[str, Any]) -> None:
        """Write data as a table of two columns; what is None or empty is left out."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in facts.items():
            if value not in (None, ""):
                grid.add_row(name, _cell(value))
        self._print(grid)

    def print_table(self, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Write data as a table; where a terminal is too narrow, the least important columns are left out.

        Args:
            columns: from left to right.
            rows: a value a column; None is an empty cell.
        """
        cells = [[_cell("" if value is None else value) for value in row] for row in rows]
        shown = self._fitting(columns, cells)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number in shown:
            column = columns[number]
            # What still does not fit is folded and not cut, since somebody may copy it.
            table.add_column(column.name, justify="right" if column.is_number else "left", overflow="fold")
        for row in cells:
            table.add_row(*(row[number] for number in shown))
        self._print(table)

    def _print(self, table: Table) -> None:
        if sys.stdout.isatty():
            self.data.print(table)
            return
        with self.data.capture() as written:
            self.data.print(table)
        self.data.out("\n".join(line.rstrip() for line in written.get().splitlines()), highlight=False)

    def _fitting(self, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> list[int]:
        widths = [
            max([len(column.name), *(row[number].cell_len for row in cells)]) for number, column in enumerate(columns)
        ]
        shown = [
            number
            for number, column in enumerate(columns)
            if column.rank == 0 or any(row[number].plain for row in cells)
        ]
        gap = 2
        while sum(widths[number] + gap for number in shown) - gap > self.data.width:
            last = max(shown, key=lambda number: columns[number].rank)
            if columns[last].rank == 0:
                break
            shown.remove(last)
        return shown


def _cell(value: Any) -> Text:
    text = plain(value)
    return Text(text, style=_STYLES.get(text, ""))


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith("utf")
