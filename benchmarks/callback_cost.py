"""What a completed callback costs: CPU for one of 1 MB, memory and liveness with 16 of 10 MB at once.

    uv run python benchmarks/callback_cost.py

Runs one API process over an embedded PostgreSQL. CPU is the process's own, from /proc; the load comes from this one.
"""

import asyncio
import hashlib
import json
import os
import re
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pybase64

from aigen_bridge.contracts.examples import REQUESTED
from aigen_bridge.embedded import postgres
from aigen_bridge.store.migrations import migrate

REQUESTS = "/api/v1/influencegen/ai-image-requests"
CALLBACK = "/api/{}/influencegen/ai-image-callback"
KEY = {"X-API-Key": "benchmark-key"}
ROUNDS = 100
TICKS = os.sysconf("SC_CLK_TCK")


def noise_png(megabytes: float) -> tuple[bytes, int, int]:
    """A PNG that does not compress, so that it is truly this large."""
    width, height = 1000, int(megabytes * 1e6 / 3001) + 1
    rows = b"".join(b"\0" + os.urandom(width * 3) for _ in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + image, width, height


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """One API process; yields a client and the process id."""
    clients = {"all": {"keys": [KEY["X-API-Key"]], "scopes": ["requests", "callbacks"]}}
    away = {"url": "http://127.0.0.1:9", "database": "d", "login": "l", "api_key": "k"}
    settings = {
        "DATABASE_URL": url,
        "PUBLIC_URL": "http://127.0.0.1",
        "N8N": json.dumps({"webhook_url": "http://127.0.0.1:9/w", "api_key": "k"}),
        "ODOO": json.dumps(away),
        "CLIENTS": json.dumps(clients),
        "REQUESTS__RATE_LIMIT": "100000/second",
        "CALLBACK__RATE_LIMIT": "100000/second",
        "LOG__FORMAT": "json",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aigen_bridge", "serve", "--port", "0"),
        env=os.environ | {f"AIGEN_{name}": value for name, value in settings.items()},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr
    port = ""
    while not port:
        found = re.search(rb"running on http://127.0.0.1:(\d+)", await process.stderr.readline())
        port = found[1].decode() if found else ""
    draining = asyncio.create_task(process.stderr.read())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=KEY, timeout=60) as client:
        yield client, process.pid
    process.terminate()
    await asyncio.gather(process.wait(), draining)


def cpu_seconds(pid: int) -> float:
    """CPU that the process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(pid: int, name: str) -> float:
    """`VmRSS` (now) or `VmHWM` (the most so far), in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


async def accepted(client: httpx.AsyncClient) -> dict[str, Any]:
    """A new request, for a callback to answer."""
    event = REQUESTED | {"requestId": str(uuid4()), "correlationId": str(uuid4())}
    answer = await client.post(REQUESTS, json=event)
    answer.raise_for_status()
    return event


def completed(event: dict[str, Any], image: tuple[bytes, int, int]) -> dict[str, Any]:
    """EVT-AIG-002 without the image itself."""
    content, width, height = image
    return {
        "requestId": event["requestId"],
        "correlationId": event["correlationId"],
        "status": "completed",
        "imageMetadata": {"format": "png", "size": len(content), "width": width, "height": height},
        "hashValue": hashlib.sha256(content).hexdigest(),
    }


Image = tuple[bytes, int, int]


def build_v1(client: httpx.AsyncClient, event: dict[str, Any], image: Image) -> httpx.Request:
    """The call of version 1."""
    body = completed(event, image) | {"imageData": pybase64.b64encode(image[0]).decode()}
    return client.build_request("POST", CALLBACK.format("v1"), json=body)


def build_v2(client: httpx.AsyncClient, event: dict[str, Any], image: Image) -> httpx.Request:
    """The call of version 2."""
    parts: dict[str, Any] = {"event": (None, json.dumps(completed(event, image))), "image": ("i.png", image[0])}
    return client.build_request("POST", CALLBACK.format("v2"), files=parts)


Build = Callable[[httpx.AsyncClient, dict[str, Any], Image], httpx.Request]


async def send(client: httpx.AsyncClient, request: httpx.Request) -> None:
    """Send a call that was built before, so that building it does not hold up what is measured."""
    (await client.send(request)).raise_for_status()


async def cpu_each(client: httpx.AsyncClient, pid: int, build: Build) -> float:
    """Milliseconds of the API's CPU for each callback of 1 MB."""
    image = noise_png(1)
    requests = [build(client, await accepted(client), image) for _ in range(ROUNDS)]
    before = cpu_seconds(pid)
    for request in requests:
        await send(client, request)
    return (cpu_seconds(pid) - before) / ROUNDS * 1000


async def sixteen_at_once(client: httpx.AsyncClient, build: Build) -> list[float]:
    """16 callbacks of 10 MB at once; returns how long `/health/live` took meanwhile, in milliseconds."""
    image = noise_png(10)
    requests = [build(client, await accepted(client), image) for _ in range(16)]
    sending = [asyncio.create_task(send(client, request)) for request in requests]
    health = []
    while not all(task.done() for task in sending):
        started = time.perf_counter()
        await client.get("/health/live")
        health.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(0.01)
    await asyncio.gather(*sending)
    return health


async def main(url: str) -> None:
    """Print the figures."""
    for name, build in (("v1", build_v1), ("v2", build_v2)):
        async with serving(url) as (client, pid):
            print(
                f"{name}: 1 MB PNG   {await cpu_each(client, pid, build):.1f} ms CPU each, {ROUNDS} one after another"
            )
        async with serving(url) as (client, pid):
            await cpu_each(client, pid, build)
            before = memory_mb(pid, "VmRSS")
            health = await sixteen_at_once(client, build)
            await asyncio.sleep(1)
            print(
                f"{name}: 16 x 10 MB at once   peak {memory_mb(pid, 'VmHWM'):.0f} MB, before {before:.0f} MB, "
                f"after {memory_mb(pid, 'VmRSS'):.0f} MB; /health/live median {statistics.median(health):.0f} ms, "
                f"worst {max(health):.0f} ms of {len(health)}"
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "data") as database:
        migrate(database.replace("postgresql://", "postgresql+psycopg://"))
        asyncio.run(main(database))
