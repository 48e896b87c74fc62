"""What the function folders share: a function for each kind of trigger, the process's set-up, Azure's types to ours."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import azure.functions as func

from shared.api.call import HttpCall
from shared.errors import InternalError
from shared.log_redaction import OUR_LOGGER, redact_logs
from shared.process import invocation, limit_heap_retention
from shared.settings import function_timeout

if TYPE_CHECKING:
    from shared.api.handle import HttpAnswer

T = TypeVar("T")

# The worker loads no function whose `context` is annotated otherwise than `Context`, nor with `Context | None`
# (azure_functions_runtime_v1 1.2, functions.py). Before Python 3.11 a default of None makes it such a union.
NO_CONTEXT: Any = object()


def set_up() -> None:
    """Prepare the process. Each function folder does it, since the host loads one after the other."""
    # The SDKs log every request and its headers at INFO. Not "azure" as a whole: `azure.functions` is the host's log.
    for name in ("azure.core", "azure.storage", "azure.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its warning of a missing identity has a dozen lines; `shared/identity.py` writes the same in one.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    redact_logs()
    limit_heap_retention()


def call_of(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> HttpCall:
    """Return a request as ours.

    Args:
        req: as the host hands it over.
        context: of the invocation; it holds the host's trace context.
    """
    of_host = getattr(getattr(context, "trace_context", None), "trace_parent", None)
    return HttpCall(req.method, req.url, req.headers, req.params, req.route_params, req.get_body(), of_host=of_host)


def http_function(
    name: str, handle: Callable[[HttpCall], HttpAnswer], *, media_type: str = "application/json"
) -> Callable[..., func.HttpResponse]:
    """Return the entry point of a folder with an HTTP trigger, and prepare the process.

    Args:
        name: of the function.
        handle: answers a request.
        media_type: of its answers.
    """
    set_up()

    def main(req: func.HttpRequest, context: func.Context = NO_CONTEXT) -> func.HttpResponse:
        def answer() -> func.HttpResponse:
            reply = handle(call_of(req, context))
            return func.HttpResponse(
                reply.body, status_code=reply.status, headers=reply.headers, mimetype=media_type, charset="utf-8"
            )

        return sealed(name, context, answer)

    return main


def queue_function(name: str, work: Callable[[bytes], None]) -> Callable[..., None]:
    """Return the entry point of a folder with a queue trigger, and prepare the process.

    An error makes the host hand the message over again, or move it to the poison queue.

    Args:
        name: of the function.
        work: works on the text of a message.
    """
    set_up()

    def main(msg: func.QueueMessage, context: func.Context = NO_CONTEXT) -> None:
        sealed(name, context, lambda: work(msg.get_body()))

    return main


def timer_function(name: str, *works: Callable[[], None]) -> Callable[..., None]:
    """Return the entry point of a folder with a timer trigger, and prepare the process.

    Args:
        name: of the function.
        works: what it does, one after the other.
    """
    set_up()

    def main(timer: func.TimerRequest, context: func.Context = NO_CONTEXT) -> None:  # noqa: ARG001 - the host's name
        def run() -> None:
            for work in works:
                work()

        sealed(name, context, run)

    return main


def sealed(name: str, context: func.Context, body: Callable[[], T]) -> T:
    """Run the body of a function with its invocation, and let nothing out of it except that it failed.

    The host writes an exception that leaves a function past every filter, with the text of its causes. So what was
    raised is logged here, and no trace of it leaves: neither as a cause nor as a context. That holds for what ends a
    program as well (`SystemExit`, `KeyboardInterrupt`): in a thread of the worker it would end nothing.

    Args:
        name: of the function.
        context: of the invocation. Each thread that the body starts joins it.
        body: what it does.

    Raises:
        InternalError: the body failed; the log says how.
    """
    try:
        with invocation(join_of(context)):
            return body()
    except BaseException:
        with suppress(BaseException):
            logging.getLogger(OUR_LOGGER).exception("%s failed", name)
    raise InternalError(f"{name} failed; the log says how") from None


# A .NET TimeSpan.
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+)", re.ASCII)


@cache
def half_of_function_timeout() -> float | None:
    """Return half of `functionTimeout` in seconds; None if it has no end, or cannot be read.

    An app setting overrides host.json. https://learn.microsoft.com/azure/azure-functions/functions-host-json#functiontimeout
    """
    host = json.loads((Path(__file__).resolve().parents[2] / "host.json").read_text(encoding="utf-8"))
    timeout = function_timeout() or str(host.get("functionTimeout", "-1"))
    match = _TIME_SPAN.fullmatch(timeout)
    if match is None:
        # "-1": no end. The host does not start with one that it cannot read.
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds() / 2


def join_of(context: func.Context) -> Callable[[], None]:
    """Return what makes the host keep the log lines of the calling thread: it drops those without an invocation id."""

    def join() -> None:
        if context not in (None, NO_CONTEXT):
            local: Any = context.thread_local_storage
            local.invocation_id = context.invocation_id

    return join
