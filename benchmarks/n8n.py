"""Figure 11: the shipped workflow on a real N8N, beside earlier versions of it on the same N8N.

N8N is measured, not the bridge: callers post to the webhook themselves, with requests that are stored already, and
the real bridge answers N8N's questions, takes the images and delivers them. The AI service answers at once. The shipped
workflow verifies signatures, as it does with compose; the earlier ones cannot.
"""

import asyncio
import json
import statistics
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import psycopg
from versions import EARLIER, earlier_version, path_of

from aigen_bridge.contracts.examples import REQUESTED
from aigen_bridge.domain.signature import secret_bytes, sign
from benchmarks import rows
from benchmarks.figure import Check, Figure
from benchmarks.flux import PICTURE
from benchmarks.ground import Ground
from benchmarks.turns import in_turns, ratio
from benchmarks.usage import cpu_seconds
from benchmarks.waiting import PATIENCE
from benchmarks.wrk import KEY, new_ids
from real_n8n import ROOT, WEBHOOK, RealN8n, workflow_settings

CALLERS, AT_ONCE = (8, 20), 20
IMAGES = 60
"""Images of one rate: a number and not a time, because on a busy machine hardly any image ends in a short time."""
BEFORE, SHIPPED = EARLIER[0], "shipped"
WEBHOOK_KEY, N8N_KEY, FLUX_KEY = "key-of-the-webhook", "key-of-n8n", "key-of-the-service"
SIGNING_SECRET, SECRET_OF_THE_BRIDGE = (
    f"whsec_{b64encode(text).decode()}"
    for text in (b"of-this-benchmark-and-nobody-else", b"of-the-bridge-in-this-benchmark!!")
)
JSON = {"Content-Type": "application/json"}
CLIENTS = {
    "all": {"keys": [KEY], "scopes": ["requests", "ops"]},
    "n8n": {
        "keys": [N8N_KEY],
        "scopes": ["callbacks"],
        "signing_secrets": [SIGNING_SECRET],
        "signature_required": True,
    },
}
SECRETS = {
    "AIGEN_N8N__API_KEY": WEBHOOK_KEY,
    "AIGEN_N8N__SIGNING_SECRET": SECRET_OF_THE_BRIDGE,
    "client_key_n8n": N8N_KEY,
    "ai_service_key": FLUX_KEY,
    "signing_secret_n8n": SIGNING_SECRET,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a workflow. The rates and the acknowledgements in ms are by the number of callers."""

    per_second: Mapping[int, float]
    acknowledged_ms: Mapping[int, Sequence[float]]
    at_once_seconds: float
    cpu_ms: float


async def measure(ground: Ground) -> Figure:
    """Measures each version in turns."""
    async with ground.stand_in("odoo") as odoo, ground.flux(FLUX_KEY) as flux, ground.database() as database:
        own = {"url": odoo.url, "database": "d", "login": "l", "api_key": "k"}
        async with (
            ground.api(database, clients=CLIENTS, odoo=own) as api,
            ground.worker(database, clients=CLIENTS, odoo=own),
            _n8n(ground, workflow_settings(api.url, flux.url)) as n8n,
            _stored(database) as stored,
        ):
            urls = {version: n8n.url + path_of(version) for version in EARLIER} | {SHIPPED: n8n.url + WEBHOOK}
            sides = {version: Workflow(n8n, url, api.url, database, stored) for version, url in urls.items()}
            found = await in_turns(ground.repetitions, sides)
    return Figure(11, "n8n", "The workflow on a real N8N, PNGs of 1 MB", _checks(found), _facts(found))


def _checks(found: Mapping[str, Sequence[Measured]]) -> list[Check]:
    faster = [
        Check(f"images per second at {callers}, {SHIPPED} / {BEFORE}", _rate(found, callers, SHIPPED), least=1)
        for callers in CALLERS
    ]
    waited = {version: [one.at_once_seconds for one in runs] for version, runs in found.items()}
    sooner = ratio(waited[SHIPPED], waited[BEFORE])
    return [*faster, Check(f"median of {AT_ONCE} at once, {SHIPPED} / {BEFORE}", sooner, most=1)]


def _rate(found: Mapping[str, Sequence[Measured]], callers: int, version: str) -> float:
    """Returns the images per second of a version, compared with the version before the protocol."""
    rates = {name: [one.per_second[callers] for one in found[name]] for name in (version, BEFORE)}
    return ratio(rates[version], rates[BEFORE])


def _facts(found: Mapping[str, Sequence[Measured]]) -> dict[str, float]:
    facts: dict[str, float] = {}
    for version, runs in found.items():
        for callers in CALLERS:
            times = [each for one in runs for each in one.acknowledged_ms[callers]]
            rates = [one.per_second[callers] for one in runs]
            facts[f"{version}, images per second at {callers}"] = statistics.median(rates)
            facts[f"{version}, acknowledged at {callers}, p50 ms"] = statistics.median(times)
            facts[f"{version}, acknowledged at {callers}, p95 ms"] = statistics.quantiles(times, n=20)[-1]
        facts[f"{version}, {AT_ONCE} at once, median s"] = statistics.median(one.at_once_seconds for one in runs)
        facts[f"{version}, CPU of N8N for an image, ms"] = statistics.median(one.cpu_ms for one in runs)
    for version in (*EARLIER[1:], SHIPPED):
        for callers in CALLERS:
            name = f"{version} / {BEFORE}, images per second at {callers}"
            facts[f"{name} (goal: 2)" if version == SHIPPED else name] = _rate(found, callers, version)
    return facts


@asynccontextmanager
async def _n8n(ground: Ground, settings: Mapping[str, Any]) -> AsyncIterator[RealN8n]:
    """Runs a real N8N with all versions."""
    n8n = RealN8n(ground.folder / "n8n")
    own = {**settings, "n8nUrl": n8n.url}
    await asyncio.to_thread(n8n.bring_in, ROOT / "n8n", own, SECRETS)
    await asyncio.to_thread(n8n.add, [earlier_version(version, own) for version in EARLIER])
    try:
        await asyncio.to_thread(n8n.start, WEBHOOK, *map(path_of, EARLIER))
        yield n8n
    finally:
        await asyncio.to_thread(n8n.stop)


class Stored:
    """Waits until the bridge has stored results."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection
        self._awaited: dict[UUID, asyncio.Future[datetime]] = {}

    async def at(self, request_id: str) -> datetime:
        """Returns when the image of this request was stored. Raises `RuntimeError` if it failed, `TimeoutError`."""
        future = self._awaited[UUID(request_id)] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            return await future

    async def look(self) -> None:
        """Looks for final requests until it is cancelled."""
        query = """
            SELECT request_id, completed_at, status, error_message FROM requests
            WHERE request_id = ANY (%s) AND completed_at IS NOT NULL
        """
        while True:
            for request_id, at, status, message in await self._all(query):
                future = self._awaited.pop(request_id)
                if status == "completed":
                    future.set_result(at)
                else:
                    future.set_exception(RuntimeError(f"Request {request_id} ended as {status}: {message}"))
            await asyncio.sleep(0.02)

    async def _all(self, query: str) -> list[tuple[Any, ...]]:
        found = await self._connection.execute(query.encode(), [list(self._awaited)])
        return await found.fetchall()


@asynccontextmanager
async def _stored(database: str) -> AsyncIterator[Stored]:
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        stored = Stored(connection)
        looking = asyncio.create_task(stored.look())
        try:
            yield stored
        finally:
            looking.cancel()


@dataclass(frozen=True)
class Workflow:
    """One version of the workflow; each call is one run."""

    n8n: RealN8n
    url: str
    bridge_url: str
    database: str
    stored: Stored

    async def __call__(self) -> Measured:
        """Measures the workflow with 8 and with 20 callers, and with twenty requests at once."""
        assert self.n8n.main.running
        pid = self.n8n.main.running.pid
        before, images = cpu_seconds(pid), AT_ONCE
        per_second, acknowledged = {}, {}
        async with httpx.AsyncClient(headers={"X-API-Key": WEBHOOK_KEY}, timeout=PATIENCE, trust_env=False) as client:
            for callers in CALLERS:
                per_second[callers], acknowledged[callers] = await self._by(client, callers)
                images += len(acknowledged[callers])
            at_once = await self._at_once(client)
        cpu = cpu_seconds(pid) - before
        return Measured(per_second, acknowledged, at_once, cpu / images * 1000)

    async def _by(self, client: httpx.AsyncClient, callers: int) -> tuple[float, list[float]]:
        """Returns the images per second, each caller asking for one after another, and the acknowledgements in ms."""
        ids = iter(await self._requests(IMAGES))
        times: list[float] = []

        async def call() -> None:
            for request_id in ids:
                times.append(await self._post(client, request_id))
                await self.stored.at(request_id)

        began = time.monotonic()
        await asyncio.gather(*(call() for _ in range(callers)))
        return IMAGES / (time.monotonic() - began), times

    async def _at_once(self, client: httpx.AsyncClient) -> float:
        """Returns the median seconds from the POST to the stored image."""

        async def call(request_id: str) -> float:
            began = time.time()
            await self._post(client, request_id)
            return (await self.stored.at(request_id)).timestamp() - began

        ids = await self._requests(AT_ONCE)
        return statistics.median(await asyncio.gather(*map(call, ids)))

    async def _post(self, client: httpx.AsyncClient, request_id: str) -> float:
        """Posts a signed request to N8N. Returns the milliseconds until its acknowledgement."""
        callback = {"callbackUrl": f"{self.bridge_url}/api/v1/influencegen/ai-image-callback"}
        wanted = {"requestId": request_id, "resolution": f"{PICTURE.width}x{PICTURE.height}"}
        body = json.dumps(REQUESTED | callback | wanted).encode()
        signed = sign([secret_bytes(SECRET_OF_THE_BRIDGE)], request_id, datetime.now(UTC), body)
        began = time.monotonic()
        (await client.post(self.url, content=body, headers=JSON | signed)).raise_for_status()
        return (time.monotonic() - began) * 1000

    async def _requests(self, many: int) -> list[str]:
        """Stores requests that wait for N8N."""
        ids = new_ids(many)
        await rows.dispatched(self.database, ids)
        return ids
