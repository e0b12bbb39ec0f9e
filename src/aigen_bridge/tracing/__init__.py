"""Traces: one per request, from the addon's call to the result in Odoo, across all processes.

The context is a `traceparent` (W3C Trace Context). It is stored with the request, so spans of another process, minutes
later or after a restart, join the same trace. Without the extra `otel`, or without an exporter in the environment
(`OTEL_EXPORTER_OTLP_ENDPOINT`), nothing is imported and no span is created; the caller's context is still passed on.
"""

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

import structlog

Kind = Literal["server", "client", "consumer"]
Value = str | int | float | bool

EXPORTERS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")

log = structlog.get_logger(__name__)


class Span(Protocol):
    """One piece of work in a trace."""

    def note(self, **attributes: Value | None) -> None:
        """Adds attributes, except those that are None. `__` in a name stands for a dot."""

    def fail(self, reason: str) -> None:
        """Marks the span as failed without an exception."""


class Tracer(Protocol):
    """Creates spans. A process has one tracer or none."""

    def span(self, name: str, kind: Kind, parent: str | None) -> AbstractContextManager[Span]: ...
    def traceparent(self) -> str | None: ...
    def close(self) -> None: ...


class _NoTracer:
    """Creates no spans, and passes on the caller's context."""

    def __init__(self) -> None:
        self._carried: ContextVar[str | None] = ContextVar("traceparent", default=None)

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None) -> Iterator[Span]:  # noqa: ARG002 - no span is created
        token = self._carried.set(parent or self._carried.get())
        try:
            yield self
        finally:
            self._carried.reset(token)

    def traceparent(self) -> str | None:
        return self._carried.get()

    def note(self, **attributes: Value | None) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


_no_tracer = _NoTracer()
_tracer: Tracer = _no_tracer


def start() -> None:
    """Starts creating spans if the environment names an exporter. Each process calls this once."""
    if not _is_configured(os.environ):
        return
    if not _sdk_is_installed():
        log.warning("traces.unavailable", detail="OTEL_… is set, but the extra 'otel' is not installed.")
        return
    from aigen_bridge.tracing.otel import exporting  # noqa: PLC0415 - imported only when traces are on

    use(exporting())
    log.info("traces.started")


def use(tracer: Tracer | None) -> None:
    """Uses this tracer from now on, or none."""
    global _tracer  # noqa: PLW0603 - one for the process, like logging
    _tracer = tracer or _no_tracer


def stop() -> None:
    """Sends the remaining spans, and creates no more."""
    _tracer.close()
    use(None)


def span(name: str, kind: Kind, parent: str | None = None) -> AbstractContextManager[Span]:
    """Creates a span for the block. `parent` is a traceparent; without one, the enclosing span is the parent."""
    return _tracer.span(name, kind, parent if parent and _PARENT.match(parent) else None)


def traceparent() -> str | None:
    """Returns the current context, to be stored or passed on."""
    return _tracer.traceparent()


def headers() -> dict[str, str]:
    """Returns the current context as headers, for a call to a trusted system."""
    context = traceparent()
    return {"traceparent": context} if context else {}


def trace_id(context: str | None) -> str | None:
    """Returns the trace id of a traceparent."""
    match = _PARENT.match(context or "")
    return match[1] if match else None


def _is_configured(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none"
    return not off and any(environment.get(name) for name in EXPORTERS)


def _sdk_is_installed() -> bool:
    needed = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        return all(importlib.util.find_spec(name) is not None for name in needed)
    except ModuleNotFoundError:
        return False
