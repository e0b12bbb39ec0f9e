"""The worker's clock for what ends by itself: certificates on our ways, and the API key for Odoo."""

import asyncio
import contextlib

import structlog

from aigen_bridge import metrics
from aigen_bridge.clients.certificates import certificate_ends
from aigen_bridge.domain.errors import TransientError
from aigen_bridge.settings import Settings

EVERY = 3600.0
"""Seconds. Certificates are renewed weeks ahead."""

log = structlog.get_logger(__name__)


async def watch_expiry(settings: Settings, stop: asyncio.Event) -> None:
    """Look now and every hour, until `stop` is set."""
    if settings.odoo.api_key_expires:
        metrics.ODOO_KEY_EXPIRY.labels(settings.odoo.login).set(settings.odoo.api_key_expires.timestamp())
    addresses = {"public": settings.public_url, "n8n": settings.n8n.webhook_url, "odoo": settings.odoo.url}
    while not stop.is_set():
        for endpoint, url in addresses.items():
            await _look(endpoint, url)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY)


async def _look(endpoint: str, url: str) -> None:
    """What was seen last stays: a certificate that has ended since gets no handshake any more."""
    try:
        ends = await certificate_ends(url)
    except TransientError as error:
        log.warning("certificate.not_seen", endpoint=endpoint, detail=error.detail)
    except Exception:  # a bug must not end the worker
        log.exception("certificate.bug", endpoint=endpoint)
    else:
        if ends is not None:
            metrics.CERTIFICATE_EXPIRY.labels(endpoint).set(ends)
