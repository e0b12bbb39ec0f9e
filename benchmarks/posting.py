"""Posts bodies to a URL with bare httpx, so many at once; prints how many a second. A process of its own.

In pools of ten connections, as the bridge does: in one pool of 200 httpx is a fifth as fast, and no ceiling at all.
"""

import asyncio
import sys
import time

import httpx
import uvloop

POOL = 10
HEADERS = {"Content-Type": "application/json", "X-API-Key": "k", "X-Correlation-ID": "c"}


async def main(url: str, body: bytes, many: int, at_once: int) -> None:
    """As many tasks as calls may be under way, each posting one after another."""
    left = iter(range(many))
    limits, tls = httpx.Limits(max_connections=POOL), httpx.create_ssl_context()
    clients = [httpx.AsyncClient(timeout=30, limits=limits, verify=tls) for _ in range(at_once // POOL)]

    async def post(client: httpx.AsyncClient) -> None:
        for _ in left:
            (await client.post(url, content=body, headers=HEADERS)).raise_for_status()

    began = time.monotonic()
    await asyncio.gather(*(post(clients[number % len(clients)]) for number in range(at_once)))
    print(many / (time.monotonic() - began))
    for client in clients:
        await client.aclose()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.stdin.buffer.read(), int(sys.argv[2]), int(sys.argv[3])))
