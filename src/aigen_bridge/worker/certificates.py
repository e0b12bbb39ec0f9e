"""Publishes expiry times as metrics: those of the TLS certificates of the endpoints, and of the API keys for Odoo."""

import asyncio
import contextlib

import structlog

from aigen_bridge import metrics
from aigen_bridge.clients.certificates import certificate_ends
from aigen_bridge.domain.destination import odoo_destination
from aigen_bridge.domain.errors import TransientError
from aigen_bridge.settings.rotation import Rotation

EVERY = 3600.0
"""Seconds between checks. Certificates are renewed weeks before they expire."""

log = structlog.get_logger(__name__)


async def watch_expiry(rotation: Rotation, stop: asyncio.Event) -> None:
    """Checks now and every hour until `stop` is set."""
    settings = rotation.settings
    addresses = {"public": settings.public_url, "n8n": settings.n8n.webhook_url}
    addresses |= {odoo_destination(name).name: odoo.url for name, odoo in settings.all_odoos.items()}
    while not stop.is_set():
        for name, odoo in rotation.settings.all_odoos.items():  # with the current keys
            if odoo.api_key_expires:
                metrics.ODOO_KEY_EXPIRY.labels(odoo.login, name).set(odoo.api_key_expires.timestamp())
        for endpoint, url in addresses.items():
            await _check_certificate(endpoint, url)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY)


async def _check_certificate(endpoint: str, url: str) -> None:
    """Updates the metric. On errors the last value stays, because an expired certificate fails the handshake."""
    try:
        expires_at = await certificate_ends(url)
    except TransientError as error:
        log.warning("certificate.check_failed", endpoint=endpoint, detail=error.detail)
    except Exception:  # a bug must not end the worker
        log.exception("certificate.bug", endpoint=endpoint)
    else:
        if expires_at is not None:
            metrics.CERTIFICATE_EXPIRY.labels(endpoint).set(expires_at)
