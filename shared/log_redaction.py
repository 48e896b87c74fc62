"""Keeps secrets and rows out of every log record: of this project, an SDK at DEBUG, urllib3, a traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg2

from shared.secret import redact

# Its records need no redaction: they are made of facts that hold no secret, and of server texts that were redacted
# before. A caller who sends "silver" as a password must not be able to blank table names in them.
OUR_LOGGER = "restore_chunk"


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
    if record.name != OUR_LOGGER:
        _redact_message(record)
    if record.exc_info and record.exc_info[1] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        shown = redact(_without_rows(trace, record.exc_info[1]))
        if shown != trace:
            # Drop the exception itself: some handlers format it again.
            record.exc_info, record.exc_text = None, shown


def _redact_message(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit the format are a bug, and may still be secrets
        message = f"{record.msg} {record.args}"
    shown = redact(message)
    if shown != message:
        record.msg, record.args = shown, None


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
