"""The benchmarks' ceilings respond as the bridge does, so that a ratio compares the same work."""

import httpx
from benchmarks.ceilings.bare import app

from aigen_bridge.contracts import examples
from stage import CALLBACK, REQUESTS, make_event


async def test_the_bare_service_accepts_requests_and_callbacks() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bare.test") as bare:
        assert (await bare.post(REQUESTS, json=make_event())).status_code == 202
        assert (await bare.post(CALLBACK, json=examples.FAILED)).status_code == 202
