"""N8N's restarts: killed without a trace, away for a while, and slow to start, as the real one is.

Each phase lasts until a request has met it, if one does soon: a restart that nothing runs into proves nothing.
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
"""For a request that meets a phase."""
UNTIL_TOLD = 3600
TRIED = "SELECT count(*) AS tries FROM attempts WHERE step = 'dispatch' AND started_at > '{since}'"


@dataclass
class Absences:
    """Restarts N8N; `times` holds when it was killed, and when its webhook was registered again."""

    ground: Ground
    supervisor: Supervisor
    database: Postgres
    times: list[tuple[datetime, datetime]] = field(default_factory=list)

    async def restart(self, strike: Strike, place: Place) -> None:
        """Kill it, and let it go through its start."""
        killed_at = datetime.now(UTC)
        await self.supervisor.kill(place)
        await _lasts(strike.seconds, lambda: self._was_tried(killed_at))
        place.arguments = n8n_arguments(self.ground, strike.style, starting=UNTIL_TOLD)
        await self.supervisor.start(place)
        async with httpx.AsyncClient(base_url=url(self.ground.n8n), trust_env=False, verify=False) as n8n:
            await _lasts(strike.starting, lambda: _has_answered(n8n, httpx.codes.OK))
            await _go_on(n8n, no_webhook_seconds=UNTIL_TOLD)
            await _lasts(strike.no_webhook, lambda: _has_answered(n8n, httpx.codes.NOT_FOUND))
            await _go_on(n8n, no_webhook_seconds=0)
        place.arguments = n8n_arguments(self.ground, strike.style)
        self.times.append((killed_at, datetime.now(UTC)))

    async def _was_tried(self, since: datetime) -> bool:
        with contextlib.suppress(psycopg.Error):
            (row,) = await asyncio.to_thread(self.database.read, TRIED.format(since=since.isoformat()))
            return bool(row["tries"])
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


async def _go_on(n8n: httpx.AsyncClient, **times: Any) -> None:
    """To the next phase of its start, in which nothing runs that could be killed."""
    (await n8n.post("/_sim/restart", json={"starting_seconds": 0, **times})).raise_for_status()
