"""Calls a URL without side effects, to examine its response."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

import httpx

from aigen_bridge.clients.http_errors import UNCOMPRESSED, excerpt, location, silence
from aigen_bridge.clients.outbound import by_proxy, way_out

SECONDS = 8.0
"""Default timeout. A busy N8N may take 3.6 s to respond (measured)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `excerpt` is the beginning of the body, on one line, and `location` where a redirect points to."""

    status: int
    media_type: str
    excerpt: str
    location: str
    took: timedelta

    @property
    def named(self) -> str:
        """The status with its name, such as `404 Not Found`."""
        known = {status.value: status.phrase for status in HTTPStatus}
        return f"{self.status} {known.get(self.status, '')}".strip()


async def ask(method: str, url: str, *, who: str, body: bytes | None = None, seconds: float = SECONDS) -> Answer:
    """Sends a request without a key and returns the response. Follows no redirects.

    Raises `TransientError` when there is no response.
    """
    headers = UNCOMPRESSED | ({"Content-Type": "application/json"} if body else {})
    try:
        async with asyncio.timeout(seconds), _client(url, seconds, headers) as client:
            began = time.monotonic()  # after loading the certificates, which takes a while
            async with client.stream(method, url, content=body) as response:
                took = timedelta(seconds=time.monotonic() - began)
                media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                where = location(url, response.headers.get("location", "")) if response.is_redirect else ""
                return Answer(response.status_code, media_type, await excerpt(response), where, took)
    except (httpx.HTTPError, TimeoutError) as error:
        raise silence(f"{who}{by_proxy(url)}", error) from error


def _client(url: str, seconds: float, headers: Mapping[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=seconds, headers=headers, **way_out(url))
