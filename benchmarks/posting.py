"""Posts bodies to a URL with bare httpx, so many at once; prints how many a second. A process of its own."""

import asyncio
import sys
import time

import httpx
import uvloop

HEADERS = {"Content-Type": "application/json", "X-API-Key": "k", "X-Correlation-ID": "c"}


async def main(url: str, body: bytes, many: int, at_once: int) -> None:
    """As many tasks as calls may be under way, each posting one after another."""
    left = iter(range(many))
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=min(at_once, 100))
    async with httpx.AsyncClient(timeout=30, limits=limits) as client:

        async def post() -> None:
            for _ in left:
                (await client.post(url, content=body, headers=HEADERS)).raise_for_status()

        began = time.monotonic()
        await asyncio.gather(*(post() for _ in range(at_once)))
        print(many / (time.monotonic() - began))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.stdin.buffer.read(), int(sys.argv[2]), int(sys.argv[3])))
