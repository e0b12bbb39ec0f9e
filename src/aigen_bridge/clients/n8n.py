"""N8N's webhook."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from aigen_bridge.clients.http_errors import excerpt, refusal, silence
from aigen_bridge.clients.outbound import Call, outbound
from aigen_bridge.domain.signature import sign

QUICK_TRIES, QUICK_WAIT = 2, 0.05
"""A refused connection carried nothing, so one quick second try is safe (wait in seconds)."""
DRAIN_SECONDS = 1.0
POOL = 10
"""Connections in one pool. A pool looks at each of its connections for every call: with 200 in one, that took 7 ms of
CPU a call, in twenty of ten 1.4 ms."""
NOT_PUBLISHED = " Is the workflow published, and the path of AIGEN_N8N__WEBHOOK_URL right?"


class N8nWebhook:
    """Sends EVT-AIG-001, signed when there are `signing_keys`. 2xx means that N8N has taken it.

    `timeout` in seconds, for the whole call.
    """

    def __init__(
        self, url: str, api_key: str, *, timeout: float, concurrency: int, signing_keys: Sequence[bytes] = ()
    ) -> None:
        self._clients = _clients(timeout, max(1, concurrency // POOL))
        self._turns = itertools.cycle(self._clients)
        self._timeout = timeout
        self._url = url
        self._signing_keys = signing_keys
        self._headers = {"X-API-Key": api_key, "Content-Type": "application/json"}

    async def send(self, event: Mapping[str, Any], *, correlation_id: UUID, message_id: str) -> None:
        """POST the event. `message_id` is the same in every try. Raises the two step errors."""
        headers = self._headers | {"X-Correlation-ID": str(correlation_id)}
        body = json.dumps(event, ensure_ascii=False).encode()
        if self._signing_keys:
            headers |= sign(self._signing_keys, message_id, datetime.now(UTC), body)
        with outbound("n8n", "POST", self._url) as call:
            call.bytes_out = len(body)
            headers |= call.headers
            try:
                async with asyncio.timeout(self._timeout):
                    await self._connecting()(self._post, body, headers, call)
            except (httpx.HTTPError, TimeoutError) as error:
                raise silence("N8N", error) from error

    async def _post(self, body: bytes, headers: Mapping[str, str], call: Call) -> None:
        async with next(self._turns).stream("POST", self._url, content=body, headers=headers) as response:
            call.status = response.status_code
            if response.is_success:
                await _drain(response)
                call.bytes_in = response.num_bytes_downloaded
                return
            said = await excerpt(response)
            call.bytes_in = response.num_bytes_downloaded
        hint = NOT_PUBLISHED if response.status_code == httpx.codes.NOT_FOUND else ""
        raise refusal("N8N", response, said, hint=hint)

    @staticmethod
    def _connecting() -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(httpx.ConnectError),
            stop=stop_after_attempt(QUICK_TRIES),
            wait=wait_fixed(QUICK_WAIT),
            reraise=True,
        )

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()


def _clients(timeout: float, many: int) -> list[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=POOL)  # the worker bounds the calls in flight
    tls = httpx.create_ssl_context()
    return [httpx.AsyncClient(timeout=timeout, limits=limits, verify=tls) for _ in range(many)]


async def _drain(response: httpx.Response) -> None:
    """Read a little, so that the connection can be used again. N8N has taken it, whatever comes now."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await excerpt(response)
