"""The second half of the workflow: build the callback, sign it, send it until it is taken."""

import asyncio
import email.utils
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pybase64

from aigen_bridge.sim.n8n_order import Order, ReturnAddress
from aigen_bridge.sim.n8n_pictures import Picture
from aigen_bridge.sim.n8n_settings import CallbackStyle, N8nSettings
from aigen_bridge.sim.simulator import Clock

RETRIED_CLIENT_ERRORS = frozenset({408, 425, 429})
FIRST_SERVER_ERROR = 500


@dataclass(frozen=True)
class Credentials:
    """What a callback is authenticated with."""

    key: str = field(repr=False)
    secret: str | None = field(repr=False)


@dataclass(frozen=True)
class Callback:
    """One result message; it keeps its `message_id` through every try and replay."""

    url: str
    event: dict[str, Any]
    trace: dict[str, str]
    image: bytes | None = None
    """Only when it travels beside the event (v2)."""
    multipart: bool = False
    message_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")


@dataclass(frozen=True)
class Attempt:
    """One try at a callback: `status` None means that no answer came."""

    request_id: str
    number: int
    at: float
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Undelivered:
    """A callback that nobody took, with its last attempt."""

    callback: Callback
    last: Attempt


def completed(order: Order, picture: Picture, style: CallbackStyle, trace: dict[str, str]) -> Callback:
    """Build EVT-AIG-002 in the given style."""
    metadata = {name: getattr(picture, name) for name in ("format", "size", "width", "height")}
    event = {**_head(order, "completed"), "imageMetadata": metadata, "hashValue": picture.sha256}
    if style == "v2":
        return Callback(_v2(order.callback_url), event, trace, picture.content, multipart=True)
    if style == "v1-url":
        event["imageUrl"] = picture.url
    else:
        event["imageData"] = pybase64.b64encode(picture.content).decode()
    return Callback(order.callback_url, event, trace)


def failed(
    order: Order | ReturnAddress, code: str, message: str, style: CallbackStyle, trace: dict[str, str]
) -> Callback:
    """Build EVT-AIG-003 in the given style."""
    event = {**_head(order, "failed"), "errorCode": code, "errorMessage": message}
    if style == "v2":
        return Callback(_v2(order.callback_url), event, trace, multipart=True)
    return Callback(order.callback_url, event, trace)


def signature(secret: str, message_id: str, timestamp: int, content: bytes) -> str:
    """Return the `webhook-signature` of `content`; `secret` is `whsec_<base64>`."""
    key = pybase64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + content
    return "v1," + pybase64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class CallbackSender:
    """Sends callbacks, with the workflow's retries; notes every attempt in `attempts`."""

    def __init__(self, settings: N8nSettings, http: httpx.AsyncClient, clock: Clock, attempts: list[Attempt]) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._attempts = attempts

    async def send(self, callback: Callback, credentials: Credentials) -> Undelivered | None:
        """Send until it is taken or the retries are gone; return what is left over in that case."""
        content = json.dumps(callback.event, ensure_ascii=False).encode()
        number = 1
        for wait in (*self._settings.callback_waits, None):
            attempt, asked = await self._attempt(callback, content, credentials, number)
            self._attempts.append(attempt)
            if attempt.error is None:
                return None
            if wait is None or not _worth_another_try(attempt):
                break
            await asyncio.sleep(max(wait, asked))
            number += 1
        return Undelivered(callback, attempt)

    async def _attempt(
        self, callback: Callback, content: bytes, credentials: Credentials, number: int
    ) -> tuple[Attempt, float]:
        """Try once; also return the seconds that the answer asked to wait."""
        request_id, at = str(callback.event.get("requestId")), self._clock()
        headers = self._headers(callback, content, credentials)
        try:
            answer = await self._post(callback, content, headers)
        except httpx.TransportError as error:
            return Attempt(request_id, number, at, None, type(error).__name__), 0.0
        problem = None if answer.is_success else answer.text[:200] or answer.reason_phrase
        wait = _asked_wait(answer.headers.get("retry-after"), self._clock())
        return Attempt(request_id, number, at, answer.status_code, problem), wait

    async def _post(self, callback: Callback, content: bytes, headers: dict[str, str]) -> httpx.Response:
        timeout = self._settings.callback_timeout
        if not callback.multipart:
            headers["Content-Type"] = "application/json"
            return await self._http.post(callback.url, content=content, headers=headers, timeout=timeout)
        parts: dict[str, Any] = {"event": (None, content)}
        if callback.image is not None:
            kind = callback.event["imageMetadata"]["format"]
            parts["image"] = (f"image.{kind}", callback.image, f"image/{kind}")
        return await self._http.post(callback.url, files=parts, headers=headers, timeout=timeout)

    def _headers(self, callback: Callback, content: bytes, credentials: Credentials) -> dict[str, str]:
        headers = {
            "X-API-Key": credentials.key,
            "X-Correlation-ID": str(callback.event.get("correlationId")),
            **callback.trace,
        }
        if credentials.secret is None:
            return headers
        timestamp = int(self._clock())
        return headers | {
            "webhook-id": callback.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(credentials.secret, callback.message_id, timestamp, content),
        }


def _head(order: Order | ReturnAddress, status: str) -> dict[str, Any]:
    return {"requestId": order.request_id, "correlationId": order.correlation_id, "status": status}


def _v2(url: str) -> str:
    return url.replace("/api/v1/", "/api/v2/")


def _worth_another_try(attempt: Attempt) -> bool:
    status = attempt.status
    return status is None or status >= FIRST_SERVER_ERROR or status in RETRIED_CLIENT_ERRORS


def _asked_wait(retry_after: str | None, now: float) -> float:
    """Read `Retry-After`: seconds or a date; what cannot be read asks for nothing."""
    if retry_after is None:
        return 0.0
    try:
        return float(retry_after)
    except ValueError:
        date = email.utils.parsedate_tz(retry_after)
        return max(0.0, email.utils.mktime_tz(date) - now) if date else 0.0
