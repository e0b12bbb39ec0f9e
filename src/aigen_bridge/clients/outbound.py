"""Records every outbound call: a log line, metrics and a span. Bodies, queries and keys are never recorded.

Also says how calls leave this machine, see `network`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from aigen_bridge import metrics, tracing
from aigen_bridge.domain.errors import StepError
from aigen_bridge.network import proxy_for, shown, tls_context

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Call:
    """A call in progress: the answer's status, and how many bytes of the two bodies were transferred."""

    status: int | None = None
    bytes_out: int = 0
    bytes_in: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    """Trace headers. They are sent to N8N and Odoo, not to image hosts."""


@contextmanager
def outbound(destination: str, method: str, url: str) -> Iterator[Call]:
    """Records the call made inside, with the class of the `StepError` that it raised.

    A call that is cancelled because the worker stops is not recorded: it shows nothing about its destination.
    """
    call, started, where = Call(), time.monotonic(), _where(method, url)
    calling = f"{destination}.calling"
    log.debug(calling, **where)
    with tracing.span(f"{method} {destination}", "client") as span:
        call.headers = tracing.headers()
        span.note(http__request__method=method, server__address=where["host"], url__path=where["path"])
        try:
            yield call
        except StepError as error:
            _log_call(destination, call, time.monotonic() - started, error, where)
            raise
        finally:
            span.note(http__response__status_code=call.status)
    _log_call(destination, call, time.monotonic() - started, None, where)


def way_out(url: str) -> dict[str, Any]:
    """Returns how an httpx client reaches this URL: its proxy and whom it trusts. It reads no variables itself."""
    tls, proxy = tls_context(), proxy_for(url)
    if proxy:
        encrypted = tls if proxy.startswith("https:") else None
        return {"verify": tls, "trust_env": False, "proxy": httpx.Proxy(proxy, ssl_context=encrypted)}
    return {"verify": tls, "trust_env": False}


def by_proxy(url: str) -> str:
    """Returns what errors of calls to this URL say about its proxy: ` (through the proxy http://…)`, or nothing."""
    proxy = proxy_for(url)
    return f" (through the proxy {shown(proxy)})" if proxy else ""


def _where(method: str, url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {"method": method, "host": parts.netloc.rpartition("@")[2], "path": parts.path}


def _log_call(destination: str, call: Call, took: float, error: StepError | None, where: dict[str, str]) -> None:
    metrics.OUTBOUND_CALLS.labels(destination, "error" if error else "ok", metrics.error_class(error)).inc()
    metrics.OUTBOUND_SECONDS.labels(destination).observe(took)
    facts = {
        "status": call.status,
        "duration_ms": round(took * 1000, 1),
        "bytes_out": call.bytes_out,
        "bytes_in": call.bytes_in,
        **({"code": error.code} if error else {}),
    }
    event = f"{destination}.answered" if call.status else f"{destination}.no_answer"
    (log.warning if error else log.info)(event, **where, **facts)
