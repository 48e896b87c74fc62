"""Keeps secrets, rows and control characters out of every log record: ours, an SDK's at DEBUG, a traceback's."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg2

from shared.secret import redact

# Its records need no redaction: they are made of facts that hold no secret, and of server texts that were redacted
# before. A caller who sends "silver" as a password must not be able to blank table names in them.
OUR_LOGGER = "restore_chunk"


# C0 but tab, DEL, C1, Unicode's line and paragraph separators, and the marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def redact_logs() -> None:
    """Remove secrets from every log record of this process, for all handlers.

    A filter would have to be added to each handler, and the Functions worker adds its own. Records are made in one
    place. Values of `extra=` are not searched, since they are added to the record later. No code here uses `extra=`.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "is_redacting", False):
        return

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        _redact_record(record)
        return record

    make_redacted.is_redacting = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)


def _redact_record(record: logging.LogRecord) -> None:
    _redact_message(record)
    if record.exc_info and record.exc_info[1] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        shown = redact(_without_rows(trace, record.exc_info[1]))
        if shown != trace or any(_CONTROL.search(str(one)) for one in _chain(record.exc_info[1])):
            # Drop the exception itself: some handlers format it again. Each line is indented, so that none looks like
            # a record of its own, whatever the exception's message holds.
            record.exc_info, record.exc_text = None, "\n".join(f"  {_one_line(line)}" for line in shown.split("\n"))


def _redact_message(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the format are a bug, and may still be secrets
        message = f"{record.msg} {record.args}"
    shown = _one_line(message if record.name == OUR_LOGGER else redact(message))
    if shown != message:
        record.msg, record.args = shown, None


def _one_line(text: str) -> str:
    """Escape control characters: a name that holds a line break must not begin a line of the log."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def _without_rows(trace: str, error: BaseException) -> str:
    """Replace psycopg2's messages by their SQLSTATE: DETAIL and CONTEXT quote rows."""
    for one in _chain(error):
        if isinstance(one, psycopg2.Error) and str(one).strip():
            trace = trace.replace(str(one).rstrip("\n"), f"SQLSTATE {one.pgcode}")
    return trace


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all its causes and contexts."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
            yield one
