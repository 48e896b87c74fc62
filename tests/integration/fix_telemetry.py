"""An OpenTelemetry SDK that keeps in memory what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

_NANOSECONDS = 1_000_000_000


@dataclass
class Telemetry:
    """What was told since the last `clear`."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """The spans that have ended, in the order of their beginnings."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def clear(self) -> None:
        self.exporter.clear()

    def one(self, name: str) -> ReadableSpan:
        """The only span whose name begins so."""
        (found,) = [span for span in self.spans if span.name.startswith(name)]
        return found

    def children(self, span: ReadableSpan) -> list[ReadableSpan]:
        return [one for one in self.spans if one.parent is not None and one.parent.span_id == span.context.span_id]

    def tree(self) -> str:
        """The spans as text, each below its parent: kind, seconds, and the attributes that the parent does not have."""
        ids = {span.context.span_id for span in self.spans}
        roots = [span for span in self.spans if span.parent is None or span.parent.span_id not in ids]
        return "".join(line for root in roots for line in self._lines(root, {}, 0))

    def _lines(self, span: ReadableSpan, above: dict[str, Any], depth: int) -> Iterator[str]:
        seconds = ((span.end_time or 0) - (span.start_time or 0)) / _NANOSECONDS
        indent = "  " * depth
        own = attributes_of(span)
        state = " ERROR" if span.status.status_code is StatusCode.ERROR else ""
        yield f"{indent}{span.name} [{span.kind.name}]{state} {seconds:.3f} s\n"
        for name, value in sorted(own.items() - above.items()):
            if name != "restore.stage":  # the span's name has it
                yield f"{indent}    {name} = {value}\n"
        for child in self.children(span):
            yield from self._lines(child, own, depth + 1)

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the point of each series of an instrument."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes or {}), point)
            for resource in ([] if data is None else data.resource_metrics)
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def said(self) -> str:
        """Everything that leaves the process: names, attributes, events, links, states, resources, figures."""
        data = self.reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + ("" if data is None else data.to_json())


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """Give the process an SDK. OpenTelemetry's own setters take one in the life of a process."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([reader], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: tracers)
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: meters)
    yield Telemetry(exporter, reader)
    tracers.shutdown()
    meters.shutdown()
