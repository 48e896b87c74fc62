"""Keeps secrets, rows and control characters out of every log record: ours, an SDK's at DEBUG, a traceback's.

And out of what Python prints of an exception that nothing handles.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psycopg2

from shared.secret import redact

# Its records need no redaction: they are made of facts that hold no secret, and of server texts that were redacted
# before. A caller who sends "silver" as a password must not be able to blank table names in them.
OUR_LOGGER = "restore_chunk"


# C0 except tab, DEL, C1, Unicode's line and paragraph separators, and the marks that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def redact_logs() -> None:
    """Remove secrets and rows from every log record of this process, for all handlers, and from what Python prints.

    A filter would have to be added to each handler, and the Functions worker adds its own. Records are made in one
    place. Values of `extra=` are not searched, since they are added to the record later. No code here uses `extra=`.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "is_redacting", False):
        return

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            _redact_record(record)
        except Exception:  # noqa: BLE001 - nothing is logged as it is, and logging raises nothing
            record.msg, record.args = "a log record of %s was left out, since it could not be redacted", (record.name,)
            record.exc_info = record.exc_text = record.stack_info = None
        return record

    make_redacted.is_redacting = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)
    # A handler that fails would print the record and the exception, with all that led to it, on standard error.
    logging.raiseExceptions = False
    _redact_hooks()


class RedactedError(Exception):
    """Replaces an exception that may not be shown. Its text is the traceback without secrets and rows."""


def _redact_hooks() -> None:
    """Hand only redacted exceptions to the hooks that print what nothing has handled.

    The hooks that are there stay: a test, or the host, may have its own.
    """
    of_process, of_threads, of_destructors = sys.excepthook, threading.excepthook, sys.unraisablehook

    def process_hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if trace is None and any(isinstance(one, psycopg2.Error) for one in _chain(error)):
            # psycopg2 prints one of two errors of a statement, and raises the other (postgres/libpq.py).
            return
        hidden = _to_show(error)
        of_process(*((kind, error, trace) if hidden is None else (RedactedError, hidden, None)))

    def thread_hook(args: threading.ExceptHookArgs) -> None:
        hidden = None if args.exc_value is None else _to_show(args.exc_value)
        of_threads(args if hidden is None else threading.ExceptHookArgs((RedactedError, hidden, None, args.thread)))

    def destructor_hook(args: sys.UnraisableHookArgs) -> None:
        hidden = None if args.exc_value is None else _to_show(args.exc_value)
        error = (args.exc_type, args.exc_value, args.exc_traceback)
        make: Any = type(args)
        # The text of an object may hold anything, so only its type is named.
        named = getattr(args.object, "__qualname__", type(args.object).__qualname__)
        of_destructors(make((*(error if hidden is None else (RedactedError, hidden, None)), args.err_msg, named)))

    sys.excepthook, threading.excepthook, sys.unraisablehook = process_hook, thread_hook, destructor_hook


def _to_show(error: BaseException) -> RedactedError | None:
    """Return the exception to show instead; None if there is nothing to hide."""
    try:
        shown = _redacted_trace(error)
    except Exception:  # noqa: BLE001 - a text that could not be searched may hold anything
        shown = f"an exception that could not be redacted: {type(error).__name__}"
    return None if shown is None else RedactedError(shown)


def _redacted_trace(error: BaseException) -> str | None:
    """Return the traceback without secrets, rows and control characters; None where it holds none.

    Each line is indented, so that none looks like a record of its own, whatever the exception's message holds.
    """
    trace = "".join(traceback.format_exception(error)).rstrip("\n")
    shown = redact(_without_rows(trace, error))
    if shown == trace and not any(_CONTROL.search(str(one)) for one in _chain(error)):
        return None
    return "\n".join(f"  {_one_line(line)}" for line in shown.split("\n"))


def _redact_record(record: logging.LogRecord) -> None:
    _redact_message(record)
    if record.exc_info and record.exc_info[1] is not None:
        shown = _redacted_trace(record.exc_info[1])
        if shown is not None:
            # Drop the exception itself: some handlers format it again.
            record.exc_info, record.exc_text = None, shown


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
