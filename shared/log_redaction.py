"""Keeps secrets and rows out of the log, whoever writes it: this project, an SDK at DEBUG, urllib3, a traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg2

from shared.secret import redact

# Its line is made of facts that hold no secret, and of texts of servers, which were rid of theirs. A caller who gives
# "silver" as a password must not be able to blank the names of tables in it.
OUR_LOGGER = "restore_chunk"


def redact_logs() -> None:
    """Let no log record of this process hold a secret, whichever handler takes it.

    A filter would have to stand at each handler, and the Functions worker adds its own; a record is made in one place.
    What is given as `extra=` is not looked at: it is put into the record later. Nobody here does that.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "is_guarded", False):
        return

    def make_guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        _redact_record(record)
        return record

    make_guarded.is_guarded = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_guarded)


def _redact_record(record: logging.LogRecord) -> None:
    if record.name != OUR_LOGGER:
        _redact_message(record)
    if record.exc_info and record.exc_info[1] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        shown = redact(_without_rows(trace, record.exc_info[1]))
        if shown != trace:
            # Without the exception itself: some handlers write it out on their own.
            record.exc_info, record.exc_text = None, shown


def _redact_message(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit are somebody's bug, and may still be secrets
        message = f"{record.msg} {record.args}"
    shown = redact(message)
    if shown != message:
        record.msg, record.args = shown, None


def _without_rows(trace: str, error: BaseException) -> str:
    """Put the SQLSTATE in the place of what psycopg2 says: DETAIL and CONTEXT quote rows."""
    for one in _chain(error):
        if isinstance(one, psycopg2.Error) and str(one).strip():
            trace = trace.replace(str(one).rstrip("\n"), f"SQLSTATE {one.pgcode}")
    return trace


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk through an exception and all that it came from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
            yield one
