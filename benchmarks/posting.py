"""Posts bodies to a URL with bare httpx, with a fixed concurrency, and prints the rate per second. A separate process.

It uses pools of ten connections, as the bridge does. With one pool of 200, httpx has a fifth of the speed and is not a
ceiling.
"""

import asyncio
import sys
import time

import httpx
import uvloop

POOL = 10
HEADERS = {"Content-Type": "application/json", "X-API-Key": "k", "X-Correlation-ID": "c"}


async def main(url: str, body: bytes, many: int, at_once: int) -> None:
    """Runs `at_once` tasks that each post one call after another, `many` calls in total."""
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
