"""Traces: one for each request, from the addon's call to the result in Odoo, whichever process works on it.

The context is a `traceparent` (W3C Trace Context). It is kept with the request, so what happens minutes later, in
another process, after a restart, joins the same trace. Without the extra `otel`, or without an exporter in the
environment (`OTEL_EXPORTER_OTLP_ENDPOINT`), nothing is imported and no span is made; the caller's context is still
passed on.
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
        """Say more about it; an attribute that is None is left out. `__` in a name stands for a dot."""

    def fail(self, reason: str) -> None:
        """It did not work, though nothing is raised."""


class Tracer(Protocol):
    """Makes spans. There is one for the process, or none."""

    def span(self, name: str, kind: Kind, parent: str | None) -> AbstractContextManager[Span]: ...
    def traceparent(self) -> str | None: ...
    def close(self) -> None: ...


class _Silent:
    """Makes no spans, and passes on what it was given."""

    def __init__(self) -> None:
        self._carried: ContextVar[str | None] = ContextVar("traceparent", default=None)

    @contextmanager
    def span(self, name: str, kind: Kind, parent: str | None) -> Iterator[Span]:  # noqa: ARG002 - nobody looks
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


_silent = _Silent()
_tracer: Tracer = _silent


def start() -> None:
    """Make spans from now on, if the environment names an exporter. To be called once by every process."""
    if not _is_wanted(os.environ):
        return
    if not _sdk_is_installed():
        log.warning("traces.impossible", detail="OTEL_… is set, but the extra 'otel' is not installed.")
        return
    from aigen_bridge.tracing.otel import exporting  # noqa: PLC0415 - only who wants traces pays for it

    use(exporting())
    log.info("traces.started")


def use(tracer: Tracer | None) -> None:
    """Make spans with this tracer, or none."""
    global _tracer  # noqa: PLW0603 - one for the process, like logging
    _tracer = tracer or _silent


def stop() -> None:
    """Send what is left, and make no more spans."""
    _tracer.close()
    use(None)


def is_on() -> bool:
    """Whether spans are made: worth a question to the database."""
    return _tracer is not _silent


def span(name: str, kind: Kind, parent: str | None = None) -> AbstractContextManager[Span]:
    """A span for the block; `parent` is a traceparent, else it belongs to the span around it."""
    return _tracer.span(name, kind, parent if parent and _PARENT.match(parent) else None)


def traceparent() -> str | None:
    """The context here, to be kept or passed on."""
    return _tracer.traceparent()


def headers() -> dict[str, str]:
    """The context here, as headers of a call to somebody we trust."""
    here = traceparent()
    return {"traceparent": here} if here else {}


def trace_id(context: str | None) -> str | None:
    """The trace that a traceparent belongs to."""
    match = _PARENT.match(context or "")
    return match[1] if match else None


def _is_wanted(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none"
    return not off and any(environment.get(name) for name in EXPORTERS)


def _sdk_is_installed() -> bool:
    needed = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        return all(importlib.util.find_spec(name) is not None for name in needed)
    except ModuleNotFoundError:
        return False
