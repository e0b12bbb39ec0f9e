"""Translates HTTP responses, and missing ones, into transient and permanent errors."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

TRANSIENT_STATUSES = frozenset({408, 425, 429})
RETRY_AFTER_MAX = timedelta(hours=1)
EXCERPT_MAX = 300
"""Bytes of a response that are read and kept: enough to recognize the server, and harmless in size."""


async def beginning(response: httpx.Response, most: int) -> bytes:
    """Reads at most `most` bytes of a streamed response."""
    start = bytearray()
    async for chunk in response.aiter_bytes(most):
        start += chunk
        if len(start) >= most:
            break
    return bytes(start[:most])


def on_one_line(body: bytes) -> str:
    """Formats an excerpt of a response body for logs and errors."""
    return " ".join(body[:EXCERPT_MAX].decode(errors="replace").split())


async def excerpt(response: httpx.Response) -> str:
    """Reads the beginning of a streamed response and returns it on one line. The rest is not read."""
    return on_one_line(await beginning(response, EXCERPT_MAX))


def refusal(name: str, response: httpx.Response, quote: str, *, hint: str = "") -> StepError:
    """Returns the error for a non-2xx response. `name` is the system that responded, `quote` an excerpt of the body."""
    status = response.status_code
    quoted = f" Response: {quote}" if quote else ""
    detail = f"{name} answered {status} {response.reason_phrase}.{hint}{quoted}"
    code = f"http_{status}"
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in TRANSIENT_STATUSES:
        wait = retry_after(response.headers.get("retry-after", ""))
        return TransientError(code, detail, http_status=status, retry_after=wait)
    return PermanentError(code, detail, http_status=status)


def silence(name: str, error: httpx.HTTPError | TimeoutError) -> TransientError:
    """Returns the error for a missing response. A host that accepts no connection in time counts as away, not slow."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        away = isinstance(error, httpx.ConnectTimeout)
        return TransientError("timeout", f"{name} did not answer in time ({type(error).__name__}).", away=away)
    return TransientError("connection", f"{name} could not be reached ({type(error).__name__}: {error}).", away=True)


def retry_after(value: str) -> timedelta | None:
    """Parses a `Retry-After` header (RFC 9110: seconds or a date), limited to one hour. None if it is invalid."""
    text = value.strip()
    try:
        wait = _seconds(text) if text.isdecimal() else _until(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), RETRY_AFTER_MAX)


def _seconds(digits: str) -> timedelta:
    too_many = len(digits) > len(str(timedelta.max.days))
    return RETRY_AFTER_MAX if too_many else timedelta(seconds=int(digits))


def _until(date: str) -> timedelta:
    # Comparing the server's date with the local clock can only lengthen the delay.
    return parsedate_to_datetime(date) - datetime.now(UTC)
