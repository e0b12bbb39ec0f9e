"""What an HTTP answer, or the lack of one, means for trying again."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

TRANSIENT_STATUSES = frozenset({408, 425, 429})
RETRY_AFTER_MAX = timedelta(hours=1)
EXCERPT_MAX = 300
"""Bytes of an answer that are read and kept: enough to see who spoke, too little to hurt."""


async def beginning(response: httpx.Response, most: int) -> bytes:
    """Reads at most `most` bytes of a streamed answer."""
    start = bytearray()
    async for chunk in response.aiter_bytes(most):
        start += chunk
        if len(start) >= most:
            break
    return bytes(start[:most])


def on_one_line(body: bytes) -> str:
    """An excerpt of an answer for logs and errors."""
    return " ".join(body[:EXCERPT_MAX].decode(errors="replace").split())


async def excerpt(response: httpx.Response) -> str:
    """The beginning of a streamed answer, on one line; the rest is not read."""
    return on_one_line(await beginning(response, EXCERPT_MAX))


def refusal(name: str, response: httpx.Response, said: str, *, hint: str = "") -> StepError:
    """The error for an answer that is not 2xx; `name` is who answered, `said` the excerpt."""
    status = response.status_code
    quoted = f" It said: {said}" if said else ""
    detail = f"{name} answered {status} {response.reason_phrase}.{hint}{quoted}"
    code = f"http_{status}"
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in TRANSIENT_STATUSES:
        wait = retry_after(response.headers.get("retry-after", ""))
        return TransientError(code, detail, http_status=status, retry_after=wait)
    return PermanentError(code, detail, http_status=status)


def silence(name: str, error: httpx.HTTPError | TimeoutError) -> TransientError:
    """The error for an answer that never came. A host that accepts no connection in time is away, not slow."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        away = isinstance(error, httpx.ConnectTimeout)
        return TransientError("timeout", f"{name} did not answer in time ({type(error).__name__}).", away=away)
    return TransientError("connection", f"{name} could not be reached ({type(error).__name__}: {error}).", away=True)


def retry_after(value: str) -> timedelta | None:
    """What a `Retry-After` header asks for (RFC 9110: seconds or a date), at most an hour; None if it is odd."""
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
    # The other side's date against our clock only lengthens a wait; it decides nothing.
    return parsedate_to_datetime(date) - datetime.now(UTC)
