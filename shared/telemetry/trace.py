"""The spans: one for each restore, a child for each of its stages, one for the message between caller and worker.

A restore behind the queue belongs to its caller's trace: its span is a child of the one that sent the message, and
links to it, as the conventions for messages say. The host's own invocation for the message is linked as well.
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/#trace-structure
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from shared.errors import RestoreError
from shared.model.report import Report
from shared.telemetry.attributes import Attributes, known, of_failure, of_queue, of_restore, of_target
from shared.telemetry.metrics import count
from shared.telemetry.sdk import SCOPE, guarded, is_loaded

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext

Ended: TypeAlias = Callable[[RestoreError | None], None]


@dataclass(frozen=True)
class Origin:
    """Where a restore comes from.

    Attributes:
        traceparent: the trace context that it belongs to; empty if there is none.
        queue: by which queue it came; None if its caller waits for it.
        operation_id: of the record that stands for it behind the queue.
        attempt: number of this attempt at it, from 1 on.
    """

    traceparent: str
    queue: str | None = None
    operation_id: str = ""
    attempt: int = 1


@contextmanager
def restoring(report: Report, origin: Origin) -> Iterator[Ended]:
    """Trace and count a restore.

    Args:
        report: is filled by the body; its stages become spans.
        origin: where the restore comes from.

    Yields:
        What the body calls at the end: with the error, or None after a success.
    """
    if not is_loaded():
        yield lambda _: None
        return
    attributes: Attributes = {"restore.request_id": report.request_id}
    if origin.queue is not None:
        attributes |= of_queue("process", queue=origin.queue, operation_id=origin.operation_id)
        attributes |= known({"restore.attempt": origin.attempt, "restore.queued_seconds": report.queued_seconds})
    with _span("restore", origin.traceparent, attributes, consumes=origin.queue is not None) as span:

        def ended(error: RestoreError | None) -> None:
            with guarded():
                if span is not None:
                    _close(span, report, error)
            count(report, error)

        if span is not None:
            report.progress.observe = _stages_of(report)
        yield ended


@contextmanager
def sending(traceparent: str, *, queue: str, operation_id: str) -> Iterator[str]:
    """Trace what puts a message into a queue.

    Args:
        traceparent: the caller's trace context; empty if there is none.
        queue: its name.
        operation_id: of the record that the message names.

    Yields:
        The trace context that the message is to bring: that of the span, or the caller's if nothing is traced.
    """
    if not is_loaded():
        yield traceparent
        return
    attributes = of_queue("send", queue=queue, operation_id=operation_id)
    with _span(f"send {queue}", traceparent, attributes, produces=True) as span:
        onward = traceparent
        with guarded():
            if span is not None:
                onward = _written(span) or traceparent
        yield onward


def _close(span: Span, report: Report, error: RestoreError | None) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    if report.target_table is not None:
        span.update_name(f"restore {report.target_table}")
    span.set_attributes(of_restore(report, error))
    if error is not None:
        # Not its message: that is in the log, and names what a code does not.
        span.set_status(StatusCode.ERROR, error.code)


def _stages_of(report: Report) -> Callable[[str], AbstractContextManager[None]]:
    """Return what makes a span of each stage. A stage that is entered again has another one."""

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        before = _figures(report)
        with _span(f"stage {name}", "", of_target(report) | {"restore.stage": name}) as span:
            try:
                yield
            finally:
                with guarded():
                    if span is not None:
                        span.set_attributes(dict(set(_figures(report).items()) - set(before.items())))

    return stage


def _figures(report: Report) -> Attributes:
    progress = report.progress
    return known(
        {
            "restore.compressed_bytes": progress.compressed_bytes,
            "restore.csv_bytes": progress.csv_bytes,
            "restore.rows_read": progress.rows,
        }
    )


@contextmanager
def _span(
    name: str, traceparent: str, attributes: Attributes, *, consumes: bool = False, produces: bool = False
) -> Iterator[Span | None]:
    """Run the body in a span, which is None if it could not be made. What the body raises marks it as failed."""
    span: Span | None = None
    detach: Callable[[], None] | None = None
    with guarded():
        span = _start(name, traceparent, attributes, consumes=consumes, produces=produces)
        detach = _attach(span)
    try:
        yield span
    except BaseException as exc:
        with guarded():
            if span is not None:
                _fail(span, exc)
        raise
    finally:
        with guarded():
            if detach is not None:
                detach()
        with guarded():
            if span is not None:
                span.end()


def _start(name: str, traceparent: str, attributes: Attributes, *, consumes: bool, produces: bool) -> Span:
    from opentelemetry import trace  # noqa: PLC0415

    around = trace.get_current_span().get_span_context()
    given = _read(traceparent)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(given)) if given.is_valid else None
    linked = ([given] if consumes and given.is_valid else []) + (
        [around] if given.is_valid and around.is_valid and around.span_id != given.span_id else []
    )
    kind = trace.SpanKind.CONSUMER if consumes else trace.SpanKind.PRODUCER if produces else trace.SpanKind.INTERNAL
    return (
        trace.get_tracer_provider()
        .get_tracer(SCOPE)
        .start_span(name, parent, kind, attributes, links=[trace.Link(context) for context in linked])
    )


def _read(traceparent: str) -> SpanContext:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    read = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    return trace.get_current_span(read).get_span_context()


def _written(span: Span) -> str:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
    return carrier.get("traceparent", "")


def _attach(span: Span) -> Callable[[], None]:
    """Make a span the current one, also for log lines; return a function that undoes this.

    Spans that libraries add by themselves are switched off below it. That of psycopg2 would hold the text of an error,
    which quotes rows, and that of urllib3 a URL with its SAS. This is the key by which
    `opentelemetry.instrumentation.utils.is_instrumentation_enabled` asks.
    """
    from opentelemetry import context, trace  # noqa: PLC0415

    quiet = context.set_value("suppress_instrumentation", value=True)
    token = context.attach(trace.set_span_in_context(span, quiet))
    return lambda: context.detach(token)


def _fail(span: Span, exc: BaseException) -> None:
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    failure = of_failure(exc)
    span.set_attributes(failure)
    span.set_status(StatusCode.ERROR, str(failure["error.type"]))
