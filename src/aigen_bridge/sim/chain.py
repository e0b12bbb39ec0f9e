"""The three simulators together, wired to each other, with the settings that point a bridge at them."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.n8n import N8nSettings, N8nSimulator
from aigen_bridge.sim.n8n_settings import CallbackStyle
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

WEBHOOK_PATH = "/webhook/aigen/v1/generate"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Running simulators. `bridge` holds the sections `n8n` and `odoo` of the bridge's settings."""

    flux: FluxSimulator
    n8n: N8nSimulator
    odoo: OdooSimulator
    flux_url: str
    n8n_url: str
    odoo_url: str
    bridge: Mapping[str, Mapping[str, Any]] = field(repr=False)


@asynccontextmanager
async def simulators(
    *,
    callback_key: str,
    flux_seconds: float = 1.0,
    ack_seconds: float = 0.0,
    callback_style: CallbackStyle = "v1",
    signing_secret: str | None = None,
) -> AsyncIterator[Chain]:
    """Run Flux, N8N and Odoo on free ports; N8N reports with `callback_key`. Times in seconds."""
    flux_key, webhook_key, odoo_key = (secrets.token_urlsafe(24) for _ in range(3))
    flux = FluxSimulator(FluxSettings(key=flux_key, seconds=flux_seconds))
    odoo = OdooSimulator(OdooSettings(api_key=odoo_key))
    async with serving(flux.app) as flux_url, serving(odoo.app) as odoo_url:
        n8n = N8nSimulator(
            N8nSettings(
                key=webhook_key,
                callback_key=callback_key,
                flux_url=flux_url,
                flux_key=flux_key,
                ack_seconds=ack_seconds,
                callback_style=callback_style,
                signing_secret=signing_secret,
            )
        )
        async with serving(n8n.app) as n8n_url:
            bridge = {
                "n8n": {"webhook_url": n8n_url + WEBHOOK_PATH, "api_key": webhook_key},
                "odoo": {
                    "url": odoo_url,
                    "database": odoo.settings.database,
                    "login": odoo.settings.login,
                    "api_key": odoo_key,
                },
            }
            yield Chain(
                flux=flux,
                n8n=n8n,
                odoo=odoo,
                flux_url=flux_url,
                n8n_url=n8n_url,
                odoo_url=odoo_url,
                bridge=bridge,
            )
