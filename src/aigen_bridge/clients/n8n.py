"""Client for N8N's webhook."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from aigen_bridge.clients.http_errors import (
    EXCERPT_MAX,
    EXCERPT_SECONDS,
    UNCOMPRESSED,
    beginning,
    excerpt,
    location,
    named,
    on_one_line,
    refusal,
    silence,
)
from aigen_bridge.clients.outbound import Call, by_proxy, outbound, way_out
from aigen_bridge.domain.destination import N8N
from aigen_bridge.domain.errors import StepError, TransientError
from aigen_bridge.domain.signature import sign

QUICK_TRIES, QUICK_WAIT = 2, 0.05
"""A refused connection transferred nothing, so one quick second attempt is safe (wait in seconds)."""
CONNECT_SECONDS = 5.0
"""A host that does not accept a connection within this time is away; a busy N8N still accepts."""
ACKNOWLEDGED = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
"""Statuses that acknowledge the event with any body. Other 2xx statuses require an empty or JSON body: during startup,
N8N responds to every path with 200 and a line of text."""
JSON_MAX = 2**20
"""Bytes that are read to check whether a body is JSON. A longer body is judged by its content type."""
GATEWAY_ERRORS = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
UNAUTHORIZED = (
    " The key or the signing secret is not the same on both sides: compare AIGEN_N8N__API_KEY and "
    "AIGEN_N8N__SIGNING_SECRET with the credentials in N8N, and the clocks of both machines. Then replay the request."
)
POOL = 10
"""Connections in one pool. A pool scans all of its connections for every call. One pool of 200 took 7 ms of CPU for
each call; twenty pools of ten took 1.4 ms."""


class N8nWebhook:
    """Sends EVT-AIG-001 and checks that N8N acknowledges it. Signs it with each of the `signing_keys`.

    `timeout`, in seconds, covers the whole call.
    """

    def __init__(
        self, url: str, api_key: str, *, timeout: float, concurrency: int, signing_keys: Sequence[bytes] = ()
    ) -> None:
        self._clients = _clients(url, timeout, max(1, concurrency // POOL))
        self._turns = itertools.cycle(self._clients)
        self._timeout = timeout
        self._url = url
        self._signing_keys = signing_keys
        self._headers = {"X-API-Key": api_key, "Content-Type": "application/json", **UNCOMPRESSED}

    async def send(self, event: Mapping[str, Any], *, correlation_id: UUID, message_id: str) -> frozenset[str]:
        """POSTs the event. `message_id` is the same in every attempt. Returns the protocols that the workflow speaks.

        Raises `TransientError` (with `away` when N8N itself did not answer) or `PermanentError`.
        """
        body = json.dumps(event, ensure_ascii=False).encode()
        headers = self._headers | {"X-Correlation-ID": str(correlation_id)}
        headers |= sign(self._signing_keys, message_id, datetime.now(UTC), body)
        with outbound(N8N.name, "POST", self._url) as call:
            call.bytes_out = len(body)
            headers |= call.headers
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._connecting()(self._post, body, headers, call)
            except (httpx.HTTPError, TimeoutError) as error:
                raise silence(f"N8N{by_proxy(self._url)}", error) from error

    async def _post(self, body: bytes, headers: Mapping[str, str], call: Call) -> frozenset[str]:
        async with next(self._turns).stream("POST", self._url, content=body, headers=headers) as response:
            call.status = response.status_code
            speaks: frozenset[str] | None
            if response.status_code in ACKNOWLEDGED:
                speaks, quote = _speaks(await _beginning(response)), ""
            elif response.is_success:
                speaks, quote = await _acknowledged(response)
            else:
                speaks, quote = None, await excerpt(response)
            call.bytes_in = response.num_bytes_downloaded
        if speaks is None:
            raise self._error(response, quote)
        return speaks

    def _error(self, response: httpx.Response, quote: str) -> StepError:
        """Returns the error for a response that is not an acknowledgement.

        When N8N is away, a proxy's `Retry-After` is ignored, because the breaker detects N8N's return.
        """
        status = response.status_code
        answered = f"N8N answered {named(response)}"
        quoted = f" Response: {quote}" if quote else ""
        if status == HTTPStatus.NOT_FOUND:
            hint = f"no workflow is published at {urlsplit(self._url).path}, the path of AIGEN_N8N__WEBHOOK_URL."
            return TransientError("http_404", f"{answered}: {hint}{quoted}", http_status=status, away=True)
        if status in GATEWAY_ERRORS:
            return TransientError(f"http_{status}", f"{answered}.{quoted}", http_status=status, away=True)
        if response.is_redirect:
            where = location(self._url, response.headers.get("location", ""))
            hint = (
                f"and points to {where}. A request is not sent to another address. If this is where N8N's webhook is "
                "now, set AIGEN_N8N__WEBHOOK_URL to it; if not, something else answers in N8N's place."
            )
            return TransientError("unexpected_answer", f"{answered} {hint}", http_status=status, away=True)
        if response.is_success:
            hint = "but not as its webhook does: N8N is starting, or something else answers in its place."
            return TransientError("unexpected_answer", f"{answered}, {hint}{quoted}", http_status=status, away=True)
        return refusal("N8N", response, quote, hint=UNAUTHORIZED if status == HTTPStatus.UNAUTHORIZED else "")

    @staticmethod
    def _connecting() -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception_type(httpx.ConnectError),
            stop=stop_after_attempt(QUICK_TRIES),
            wait=wait_fixed(QUICK_WAIT),
            reraise=True,
        )

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients:
            await client.aclose()


def _clients(url: str, timeout: float, many: int) -> list[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=POOL)  # the worker limits concurrent calls
    phases = httpx.Timeout(timeout, connect=min(timeout / 2, CONNECT_SECONDS))
    outside = way_out(url)
    return [httpx.AsyncClient(timeout=phases, limits=limits, **outside) for _ in range(many)]


async def _acknowledged(response: httpx.Response) -> tuple[frozenset[str] | None, str]:
    """Returns the protocols in the body of a 2xx, None if it is neither empty nor JSON, and its beginning."""
    try:
        body = await beginning(response, JSON_MAX)
    except httpx.DecodingError as error:
        return None, f"{error}."
    return (_speaks(body) if _is_empty_or_json(response, body) else None), on_one_line(body)


def _is_empty_or_json(response: httpx.Response, body: bytes) -> bool:
    if len(body) >= JSON_MAX:
        return "json" in response.headers.get("content-type", "").partition(";")[0].lower()
    if not body.strip():
        return True
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


async def _beginning(response: httpx.Response) -> bytes:
    """Reads the beginning of the body, which allows the connection to be reused. N8N has already acknowledged."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(EXCERPT_SECONDS):
            return await beginning(response, EXCERPT_MAX)
    return b""


def _speaks(body: bytes) -> frozenset[str]:
    """Returns the protocols of an acknowledgement such as `{"speaks": ["generation"]}`; none for any other body."""
    try:
        spoken = json.loads(body)["speaks"]
        return frozenset(each for each in spoken if isinstance(each, str))
    except (ValueError, RecursionError, LookupError, TypeError):
        return frozenset()
