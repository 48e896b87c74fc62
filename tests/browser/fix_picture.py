"""Pictures of the page for docs/. Each holds a note of what it shows, which says whether the page is still like it."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import FloatRect, Page

from tools.config import REPOSITORY

FOLDER = REPOSITORY / "docs/page"
# With a palette, a picture has a third of the bytes. With a smaller one, the colour of a sign would be lost.
_COLOURS = 255
_NOTE = "Description"

# Each kind of element with its text. The seconds of the stages differ each time, and so may which stages took any.
_SHOWN = """() => {
  const unseen = "script, style, noscript, option:not(:checked), svg, table.figures tbody", lines = [];
  for (const one of document.body.querySelectorAll("*")) {
    if (!one.checkVisibility() || one.closest(unseen)) continue;
    const text = [...one.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data);
    lines.push([one.localName, ...one.classList].join(".") + " " + text.join(" ").replace(/\\s+/g, " "));
  }
  return lines;
}"""
# Ids first: they hold digits.
_FIGURES = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "id"),
    (re.compile(r"\d+([.,:]\d+)*"), "0"),
    (re.compile(r"\b0 min 0 s\b"), "0 s"),
)


def what_is_shown(page: Page) -> str:
    """Return the words and kinds of elements that the page shows now, and a hash of its style; figures are all 0."""
    lines: list[str] = page.evaluate(_SHOWN)
    for pattern, figure in _FIGURES:
        lines = [pattern.sub(figure, line).strip() for line in lines]
    style = hashlib.sha256((REPOSITORY / "shared/page/page.css").read_bytes()).hexdigest()
    return "\n".join([*sorted(set(lines)), f"style {style}"])


def take(page: Page, path: Path) -> None:
    """Write a picture of what is in the window, with a note of it."""
    note = PngInfo()
    note.add_text(_NOTE, what_is_shown(page), zip=True)
    taken = Image.open(io.BytesIO(page.screenshot(clip=_content(page))))
    few = taken.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True, pnginfo=note)


def noted(path: Path) -> str:
    """Return what the page showed when a picture was taken."""
    with Image.open(path) as picture:
        return str(picture.info[_NOTE])


def _content(page: Page) -> FloatRect:
    """Return the window without the empty part below."""
    width, height = page.evaluate(
        """() => {
          const all = [document.body, ...document.querySelectorAll("dialog[open]")];
          const ends = all.map((one) => one.getBoundingClientRect().bottom);
          return [innerWidth, Math.min(innerHeight, Math.ceil(Math.max(...ends)))];
        }"""
    )
    return {"x": 0, "y": 0, "width": width, "height": height}
