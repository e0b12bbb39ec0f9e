"""Restarts of N8N: it is killed without warning, is away for a while, and starts slowly, as the real N8N does.

Each phase lasts until a request has met it, or for `PATIENCE_SECONDS` more. A restart that no request meets proves
nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

from chaos.ground import Ground, url
from chaos.postgres import Postgres
from chaos.schedule import Strike
from chaos.supervisor import Place, Supervisor, n8n_arguments

PATIENCE_SECONDS = 3.0
"""Longest wait for a request that meets a phase."""
UNTIL_CHANGED = 3600
"""Seconds of a phase that ends by `_next_phase`, not by itself."""
ATTEMPTED = "SELECT count(*) AS attempts FROM attempts WHERE step = 'dispatch' AND started_at > '{since}'"


@dataclass
class Absences:
    """Restarts N8N. `times` holds the times at which it was killed and at which its webhook was registered again."""

    ground: Ground
    supervisor: Supervisor
    database: Postgres
    times: list[tuple[datetime, datetime]] = field(default_factory=list)

    async def restart(self, strike: Strike, place: Place) -> None:
        """Kills N8N and takes it through the phases of its startup."""
        killed_at = datetime.now(UTC)
        await self.supervisor.kill(place)
        await _lasts(strike.seconds, lambda: self._was_attempted(killed_at))
        place.arguments = n8n_arguments(self.ground, strike.style, reports=strike.reports)
        await self.supervisor.start(place)
        async with httpx.AsyncClient(base_url=url(self.ground.n8n), trust_env=False, verify=False) as n8n:
            await _next_phase(n8n, starting_seconds=UNTIL_CHANGED)
            await _lasts(strike.starting, lambda: _has_answered(n8n, httpx.codes.OK))
            await _next_phase(n8n, no_webhook_seconds=UNTIL_CHANGED)
            await _lasts(strike.no_webhook, lambda: _has_answered(n8n, httpx.codes.NOT_FOUND))
            await _next_phase(n8n, no_webhook_seconds=0)
        self.times.append((killed_at, datetime.now(UTC)))

    async def _was_attempted(self, since: datetime) -> bool:
        with contextlib.suppress(psycopg.Error):
            (row,) = await asyncio.to_thread(self.database.read, ATTEMPTED.format(since=since.isoformat()))
            return bool(row["attempts"])
        return False


async def _lasts(seconds: float, is_met: Callable[[], Awaitable[bool]]) -> None:
    await asyncio.sleep(seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_met():
                await asyncio.sleep(0.1)


async def _has_answered(n8n: httpx.AsyncClient, status: int) -> bool:
    calls = (await n8n.get("/_sim/calls")).json()
    return any(call["route"] == "webhook" and call["status"] == status for call in calls)


async def _next_phase(n8n: httpx.AsyncClient, **times: Any) -> None:
    """Begins the next phase of the startup. No execution is running that the restart could kill."""
    (await n8n.post("/_sim/restart", json={"starting_seconds": 0, **times})).raise_for_status()
