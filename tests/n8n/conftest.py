"""Fixtures for scenarios that run on a simulated N8N (in every test run) and on a real one (`make e2e-n8n`)."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import kills
import own_workflow
import pytest
from gate import Gate
from players import RealPlayer, SimulatedPlayer
from stages import report
from theatre import (
    BRIDGE_SECRET,
    CALLBACK_KEY,
    FLUX_KEY,
    ODOO_KEY,
    SIGNING_SECRET,
    WEBHOOK_KEY,
    Bridge,
    Opened,
    Theatre,
    clients,
    connection,
)
from variants import PATHS, variants

from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from ports import free_port
from real_n8n import ROOT, WEBHOOK, Queue, RealN8n, workflow_settings
from real_redis import RealRedis, redis_is_installed

MODE = os.environ.get("N8N_MODE", "regular")
"""How the real N8N runs: `regular` or `queue`."""
if MODE not in {"regular", "queue"}:
    raise pytest.UsageError(f"N8N has the modes regular and queue, not {MODE}")
NewN8n = Callable[[], RealN8n]
SECRETS = {
    "AIGEN_N8N__API_KEY": WEBHOOK_KEY,
    "client_key_n8n": CALLBACK_KEY,
    "ai_service_key": FLUX_KEY,
    "signing_secret_n8n": SIGNING_SECRET,
    "AIGEN_N8N__SIGNING_SECRET": BRIDGE_SECRET,
}


@dataclass(frozen=True)
class Addresses:
    """The ports of the AI services and the gate, fixed for the session because N8N is configured only once."""

    flux: int
    gate: int
    rest: int

    def settings(self) -> dict[str, Any]:
        """Returns the settings of the workflows. The AI service's key may also go to the port `rest`."""
        settings = workflow_settings(f"http://127.0.0.1:{self.gate}", f"http://127.0.0.1:{self.flux}")
        return settings | {"aiOrigins": [f"http://127.0.0.1:{self.rest}"]}

    def own_workflows(self) -> Iterator[dict[str, Any]]:
        """Returns the example workflow and its variants."""
        return own_workflow.own_workflows(f"http://127.0.0.1:{self.gate}", f"http://127.0.0.1:{self.rest}")


@pytest.fixture(scope="session")
def addresses() -> Addresses:
    return Addresses(free_port(), free_port(), free_port())


@pytest.fixture(scope="session")
def new_n8n(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewN8n]:
    """A function that makes a real N8N with an empty database, in the mode of this run."""
    with ExitStack() as opened:

        def new() -> RealN8n:
            home = tmp_path_factory.mktemp("n8n")
            if MODE == "regular":
                return RealN8n(home)
            if not redis_is_installed():
                pytest.skip("queue mode needs Redis, which is not installed here (apt-get install redis-server)")
            redis = RealRedis(home / "redis", free_port())
            opened.callback(redis.kill)
            redis.start()
            return RealN8n(home, Queue(redis, new_database()))

        yield new


@pytest.fixture(scope="session")
def real_n8n(addresses: Addresses, new_n8n: NewN8n) -> Iterator[RealN8n]:
    """One real N8N for all tests, with every variant of the workflow."""
    n8n = new_n8n()
    settings = addresses.settings() | {"n8nUrl": n8n.main.url}
    n8n.bring_in(ROOT / "n8n", settings, SECRETS)
    n8n.add([*variants(settings), *addresses.own_workflows()], [own_workflow.CREDENTIAL])
    n8n.start(WEBHOOK, *PATHS.values(), *own_workflow.PATHS.values())
    yield n8n
    n8n.stop()


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.n8n)])
async def player(request: pytest.FixtureRequest, addresses: Addresses) -> AsyncIterator[RealPlayer | SimulatedPlayer]:
    """The N8N of this test."""
    if request.param == "real":
        yield RealPlayer(request.getfixturevalue("real_n8n"))
        return
    async with SimulatedPlayer.playing(addresses.settings()) as player:
        yield player


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints durations on the real N8N, and what became of the requests during which it was killed."""
    if lines := report():
        terminalreporter.section("time per stage")
        terminalreporter.write_line("\n".join(lines))
    if lines := kills.report():
        terminalreporter.section("N8N killed at each node that costs or waits")
        terminalreporter.write_line("\n".join(lines))


IMAGE_URLS = {"allow_http": True, "trusted_networks": ["127.0.0.0/8"]}


@pytest.fixture
async def open_theatre(
    player: RealPlayer | SimulatedPlayer, addresses: Addresses, database_url: str, tmp_path: Path
) -> AsyncIterator[Opened]:
    """A function that opens the theatre: `variant` is the workflow's, the rest are sections of the settings."""
    async with AsyncExitStack() as opened:
        flux, odoo, gate = FluxSimulator(FluxSettings(key=FLUX_KEY, seconds=0)), _odoo(), Gate()
        flux_url = await opened.enter_async_context(serving(flux.app, port=addresses.flux))
        gate.url = await opened.enter_async_context(serving(gate.app, port=addresses.gate))
        odoo_url = await opened.enter_async_context(serving(odoo.app))
        http = await opened.enter_async_context(httpx.AsyncClient(verify=False, trust_env=False, timeout=60))

        async def open_theatre(variant: str = "v2", **sections: Any) -> Theatre:
            n8n = connection(player.webhook(variant))
            given = {
                "clients": clients(),
                "n8n": n8n,
                "odoo": _odoo_connection(odoo, odoo_url),
                "image_urls": IMAGE_URLS,
            }
            bridge = Bridge(database_url, tmp_path, gate, player.real, given | sections)
            opened.push_async_callback(bridge.stop)
            await bridge.start()
            return Theatre(flux, odoo, gate, bridge, player, http, flux_url)

        yield open_theatre


def _odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=ODOO_KEY))


def _odoo_connection(odoo: OdooSimulator, url: str) -> dict[str, str]:
    known = odoo.settings
    return {"url": url, "database": known.database, "login": known.login, "api_key": known.api_key}
