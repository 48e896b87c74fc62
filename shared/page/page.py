"""Assembles the page, and the headers that limit what a browser may do with it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def page() -> str:
    """Return the page: HTML with its style and its script inside."""
    text = _source("page.html")
    return text.replace("/*style*/", _source("page.css")).replace("/*script*/", _source("page.js"))


@cache
def page_headers() -> dict[str, str]:
    """Return the headers of the page.

    The browser runs this script and this style alone, whatever a text in the page holds, and asks no other host
    (https://www.w3.org/TR/CSP3/). No other site may show the page in a frame.
    """
    policy = (
        "default-src 'none'",
        f"script-src {_hash_of('page.js')}",
        f"style-src {_hash_of('page.css')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


def _hash_of(name: str) -> str:
    digest = hashlib.sha256(_source(name).encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _source(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
