"""The documents of this repository as data: their tables, their JSON blocks, their words without the markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tools.config import REPOSITORY

DOCS = REPOSITORY / "docs"

# A pointer to another place of the page, such as ", see [below](#pg)". It means nothing elsewhere.
_POINTER = re.compile(r"[,;]? see \[[^\]]*\]\(#[^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def section(page: str, heading: str) -> str:
    """Return the text below a heading of a page in docs/, up to the next heading of level 1 or 2.

    Raises:
        LookupError: the page has no such heading.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{page} has no heading {heading}")
    return found[2]


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of all tables whose first cell is one name in backticks, by that name.

    Raises:
        LookupError: a name has two rows.
    """
    found = re.findall(r"^\| `([^`]+)` \| (.*) \|$", text, re.MULTILINE)
    if len(dict(found)) != len(found):
        raise LookupError("a name has two rows")
    return {name: rest.split(" | ") for name, rest in found}


def meanings(page: str, heading: str) -> dict[str, str]:
    """Return the last cell of each row below a heading, as a sentence without links."""
    return {name: sentence(cells[-1]) for name, cells in rows(section(page, heading)).items()}


def sentence(markdown: str) -> str:
    """Take the links out of a text."""
    return _LINK.sub(r"\1", _POINTER.sub("", markdown)).strip()


def opening(page: str) -> str:
    """Return the first paragraph of a page, on one line, without a last sentence that introduces what follows."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    paragraph = " ".join(sentence(text.split("\n\n")[1]).split())
    return paragraph[: paragraph.rindex(".") + 1]


def examples(page: str) -> Iterator[tuple[str, Any]]:
    """Yield each JSON block of a page with the heading above it."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        for block in re.findall(r"^```json\n(.*?)^```$", part, re.MULTILINE | re.DOTALL):
            yield heading, json.loads(block)
