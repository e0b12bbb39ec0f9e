"""OpenTelemetry. Imported only when traces are on. The variables `OTEL_*` set the exporter and the sampling."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aigen_bridge import __version__
from aigen_bridge.tracing import EXPORTERS, Kind, Span, Value

KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "consumer": SpanKind.CONSUMER}


class _SpanAdapter:
    """Adapts an OpenTelemetry span to `Span`."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    def note(self, **attributes: Value | None) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name.replace("__", "."), value)

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))


class OtelTracer:
    """Sends every span to a processor. An error is recorded by its code or class: details may quote other systems."""

    def __init__(self, processor: SpanProcessor) -> None:
        service = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "aigen-bridge"), "service.version": __version__}
        self._provider = TracerProvider(resource=Resource.create(service))  # OTEL_RESOURCE_ATTRIBUTES are added
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("aigen_bridge", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None) -> Iterator[Span]:
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(
            name, context, KINDS[kind], record_exception=False, set_status_on_exception=False
        ) as span:
            adapted = _SpanAdapter(span)
            try:
                yield adapted
            except Exception as error:
                adapted.fail(str(getattr(error, "code", type(error).__name__)))
                raise

    def traceparent(self) -> str | None:
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"

    def close(self) -> None:
        self._provider.shutdown()


def exporting() -> OtelTracer:
    """Returns a tracer that exports by OTLP over HTTP, configured by the standard variables."""
    for name in EXPORTERS:
        if name in os.environ:
            os.environ[name] = os.environ[name].strip()  # the exporter would call the address with its line end
    return OtelTracer(BatchSpanProcessor(OTLPSpanExporter()))
