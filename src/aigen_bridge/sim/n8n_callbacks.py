"""The second half of the workflow: signs the callback and sends it until the bridge accepts it."""

import asyncio
import email.utils
import json
from dataclasses import dataclass
from typing import Any

import httpx

from aigen_bridge.sim.n8n_answers import is_problem, is_receipt
from aigen_bridge.sim.n8n_nodes import Node, Reach, once_sent
from aigen_bridge.sim.n8n_results import Callback
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.n8n_signatures import Credentials, signed_headers
from aigen_bridge.sim.simulator import Clock

QUARANTINED_STATUSES = frozenset({404, 409, 422})
"""Problems with these statuses mean that the bridge has quarantined the callback."""
RETRY_AFTER_MAX = 60.0
"""Longest `Retry-After` that is respected, in seconds."""
RETRIED_CLIENT_ERRORS = frozenset({408, 425, 429})
FIRST_CLIENT_ERROR, FIRST_SERVER_ERROR = 400, 500


@dataclass(frozen=True)
class Attempt:
    """One callback attempt. `status` is None when there was no response; `may_pass` means that a retry may succeed."""

    request_id: str
    number: int
    at: float
    status: int | None
    error: str | None
    may_pass: bool = False


@dataclass(frozen=True)
class Undelivered:
    """A callback that was not accepted, with its last attempt."""

    callback: Callback
    last: Attempt
    kept: bool = False
    """The bridge has refused it for good and has quarantined it."""


class CallbackSender:
    """Sends callbacks with the workflow's retries and appends every attempt to `attempts`."""

    def __init__(
        self, settings: N8nSettings, http: httpx.AsyncClient, clock: Clock, reach: Reach, attempts: list[Attempt]
    ) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._reach = reach
        self._attempts = attempts

    async def send(self, callback: Callback, credentials: Credentials) -> Undelivered | None:
        """Sends the callback until the bridge accepts it or no retry is left. Returns it if it was not accepted."""
        content = json.dumps(callback.event, ensure_ascii=False).encode()
        number = 1
        for wait in (*self._settings.callback_waits, None):
            attempt, retry_after, kept = await self._attempt(callback, content, credentials, number)
            self._attempts.append(attempt)
            if attempt.error is None:
                return None
            if wait is None or not attempt.may_pass:
                break
            await asyncio.sleep(max(wait, retry_after))
            number += 1
        return Undelivered(callback, attempt, kept)

    async def _attempt(
        self, callback: Callback, content: bytes, credentials: Credentials, number: int
    ) -> tuple[Attempt, float, bool]:
        """Makes one attempt. Also returns the requested delay in seconds, and whether the bridge quarantined it."""
        request_id, at = str(callback.event.get("requestId")), self._clock()
        headers = self._headers(callback, content, credentials)
        try:
            answer = await self._post(callback, content, headers)
        except httpx.TransportError as error:
            return Attempt(request_id, number, at, None, type(error).__name__, may_pass=True), 0.0, False
        problem = None if is_receipt(answer, "requestId") else answer.text[:200] or answer.reason_phrase
        wait = _retry_after(answer.headers.get("retry-after"), self._clock())
        attempt = Attempt(request_id, number, at, answer.status_code, problem, may_pass=_may_pass(answer))
        return attempt, wait, is_problem(answer) and answer.status_code in QUARANTINED_STATUSES

    async def _post(self, callback: Callback, content: bytes, headers: dict[str, str]) -> httpx.Response:
        sent = once_sent(self._reach, Node.WHILE_CALLING_BACK, str(callback.event.get("requestId")))
        how: dict[str, Any] = {"timeout": self._settings.callback_timeout, "extensions": sent}
        if not callback.multipart:
            headers["Content-Type"] = "application/json"
            return await self._http.post(callback.url, content=content, headers=headers, **how)
        parts: dict[str, Any] = {"event": (None, content)}
        if callback.image is not None:
            kind = callback.event["imageMetadata"]["format"]
            parts["image"] = (f"image.{kind}", callback.image, f"image/{kind}")
        return await self._http.post(callback.url, files=parts, headers=headers, **how)

    def _headers(self, callback: Callback, content: bytes, credentials: Credentials) -> dict[str, str]:
        headers = {
            "X-API-Key": credentials.key,
            "X-Correlation-ID": str(callback.event.get("correlationId")),
            **callback.trace,
        }
        return headers | signed_headers(credentials, callback.message_id, self._clock(), content)


def _may_pass(answer: httpx.Response) -> bool:
    """Returns whether a retry may succeed: the bridge's status allows it, or a proxy answered instead of the bridge."""
    status = answer.status_code
    is_proxy = status < FIRST_CLIENT_ERROR or (status == httpx.codes.NOT_FOUND and not is_problem(answer))
    return is_proxy or status >= FIRST_SERVER_ERROR or status in RETRIED_CLIENT_ERRORS


def _retry_after(retry_after: str | None, now: float) -> float:
    """Parses `Retry-After` (seconds or a date) into seconds; 0 when it is absent or invalid."""
    if retry_after is None:
        return 0.0
    try:
        return min(float(retry_after), RETRY_AFTER_MAX)
    except ValueError:
        date = email.utils.parsedate_tz(retry_after)
        return min(max(0.0, email.utils.mktime_tz(date) - now), RETRY_AFTER_MAX) if date else 0.0
