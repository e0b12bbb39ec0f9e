"""The three simulators, connected to each other, and the settings that connect a bridge to them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.n8n import N8nSettings, N8nSimulator
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

WEBHOOK_PATH = "/webhook/aigen/v1/generate"
QUICK: dict[str, Any] = {"poll_waits": (0.05, 0.1, 0.2), "repeat_progress": 0.4}
"""Times of N8N, 25 times shorter than usual, because the simulated service is faster than a real one."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The running simulators and their base URLs."""

    flux: FluxSimulator
    n8n: N8nSimulator
    odoo: OdooSimulator
    flux_url: str
    n8n_url: str
    odoo_url: str

    @property
    def bridge(self) -> dict[str, dict[str, Any]]:
        """The sections `n8n` and `odoo` of the settings of a bridge that uses these simulators."""
        odoo = self.odoo.settings
        return {
            "n8n": {
                "webhook_url": self.n8n_url + WEBHOOK_PATH,
                "api_key": self.n8n.settings.key,
                "signing_secret": self.n8n.settings.webhook_signing_secret,
            },
            "odoo": {
                "url": self.odoo_url,
                "database": odoo.database,
                "login": odoo.login,
                "api_key": odoo.api_key,
            },
        }


@asynccontextmanager
async def simulators(
    *,
    callback_key: str,
    flux_seconds: float = 1.0,
    flux_runners: int = 10,
    odoo_uuid: str = "",
    **n8n_behaviour: Any,
) -> AsyncIterator[Chain]:
    """Runs Flux, N8N and Odoo on free ports. N8N authenticates its callbacks with `callback_key`.

    `flux_seconds` is the duration of one generation, `flux_runners` the number of jobs that run at the same time,
    `odoo_uuid` that of Odoo's database (empty: a new one); `n8n_behaviour` are fields of `N8nSettings`.
    """
    flux_key, webhook_key, odoo_key = (secrets.token_urlsafe(24) for _ in range(3))
    flux = FluxSimulator(FluxSettings(key=flux_key, seconds=flux_seconds, runners=flux_runners))
    odoo = OdooSimulator(OdooSettings(api_key=odoo_key, database_uuid=odoo_uuid))
    async with serving(flux.app) as flux_url, serving(odoo.app) as odoo_url:
        keys: dict[str, Any] = {"key": webhook_key, "callback_key": callback_key, "flux_key": flux_key}
        n8n = N8nSimulator(N8nSettings(**keys, **(QUICK | {"flux_url": flux_url} | n8n_behaviour)))
        async with serving(n8n.app) as n8n_url:
            yield Chain(flux=flux, n8n=n8n, odoo=odoo, flux_url=flux_url, n8n_url=n8n_url, odoo_url=odoo_url)
