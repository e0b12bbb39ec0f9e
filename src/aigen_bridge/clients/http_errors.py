"""Translates HTTP responses, and missing ones, into transient and permanent errors."""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import httpx

from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

TRANSIENT_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
RETRY_AFTER_MAX = timedelta(hours=1)
"""The longest `Retry-After` that is honoured. A longer one is limited to it, never ignored."""
EXCERPT_MAX = 300
"""Bytes of a response that are read and kept: enough to recognize the server, and harmless in size."""
EXCERPT_SECONDS = 1.0
"""How long to wait for the body of an error. Its status has already decided."""
LOCATION_MAX = 200
UNCOMPRESSED = {"Accept-Encoding": "identity"}
"""Bodies are read up to a limit, and a compressed one may be a thousand times as large as what was transferred."""


async def beginning(response: httpx.Response, most: int) -> bytes:
    """Reads at most `most` bytes of a streamed response, and decompresses to at most `most` bytes.

    Raises `httpx.DecodingError` for a body that is not in its `Content-Encoding`.
    """
    start = bytearray()
    async for chunk in response.aiter_raw():
        start += chunk
        if len(start) >= most:
            break
    return _decompressed(bytes(start[:most]), response.headers.get("content-encoding", ""), most)


def _decompressed(body: bytes, encoding: str, most: int) -> bytes:
    """Decompresses what was not asked to be compressed, because some proxies compress anyway."""
    match encoding.strip().lower():
        case "gzip" | "x-gzip" | "deflate" if body:
            try:
                return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, most)
            except zlib.error as error:
                raise httpx.DecodingError(f"The body is not in {encoding.strip().lower()}") from error
    return body


def printable(text: str) -> str:
    """Formats untrusted text on one line, without control characters and lone surrogates."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def on_one_line(body: bytes) -> str:
    """Formats an excerpt of a response body for logs and errors."""
    return printable(body[:EXCERPT_MAX].decode(errors="replace"))


async def excerpt(response: httpx.Response) -> str:
    """Returns the beginning of an error's body on one line; empty when it cannot be read. The rest is not read."""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(EXCERPT_SECONDS):
            return on_one_line(await beginning(response, EXCERPT_MAX))
    return ""


def refusal(name: str, response: httpx.Response, quote: str, *, hint: str = "") -> StepError:
    """Returns the error for a non-2xx response. `name` is the system that responded, `quote` an excerpt of the body."""
    status = response.status_code
    quoted = f" Response: {quote}" if quote else ""
    detail = f"{name} answered {named(response)}.{hint}{quoted}"
    code = f"http_{status}"
    if is_transient(status):
        wait = retry_after(response.headers.get("retry-after", ""))
        return TransientError(code, detail, http_status=status, retry_after=wait)
    return PermanentError(code, detail, http_status=status)


def is_transient(status: int) -> bool:
    """Returns whether the same call may succeed later."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in TRANSIENT_STATUSES


def named(response: httpx.Response) -> str:
    """Formats the status of a response with its phrase, such as `404 Not Found`."""
    return f"{response.status_code} {printable(response.reason_phrase)[:EXCERPT_MAX]}".strip()


def silence(name: str, error: httpx.HTTPError | TimeoutError) -> TransientError:
    """Returns the error for a missing response. A host that accepts no connection in time counts as away, not slow."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        away = isinstance(error, httpx.ConnectTimeout)
        return TransientError("timeout", f"{name} did not answer in time ({type(error).__name__}).", away=away)
    reason = f"{type(error).__name__}: {printable(str(error))[:EXCERPT_MAX]}"
    return TransientError("connection", f"{name} could not be reached ({reason}).", away=True)


def location(url: str, target: str) -> str:
    """Formats the `Location` of a redirect from `url` for an error: without user, password, query and fragment."""
    try:
        parts = urlsplit(urljoin(url, target))
        host = parts.netloc.rpartition("@")[2]
        return printable(f"{parts.scheme}://{host}{parts.path}" if target.strip() else "nowhere")[:LOCATION_MAX]
    except ValueError:
        return "an address that cannot be read"


def retry_after(value: str) -> timedelta | None:
    """Parses `Retry-After` (RFC 9110: whole seconds or a date), limited to one hour.

    Several values, as from two headers, ask for the longest of their waits. Invalid ones are left out; None if there is
    no valid one. Comparing the server's date with the local clock can only lengthen a delay.
    """
    waits = list(_waits(re.split(r"(?<=[0-9]),|(?<=GMT),", value)))
    return max(waits) if waits else None


def _waits(values: Iterable[str]) -> Iterable[timedelta]:
    for value in values:
        text = value.strip()
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            wait = _seconds(text) if re.fullmatch("[0-9]+", text) else _until(text)
            yield min(max(wait, timedelta(0)), RETRY_AFTER_MAX)


def _seconds(digits: str) -> timedelta:
    too_many = len(digits.lstrip("0")) > len(str(timedelta.max.days))
    return RETRY_AFTER_MAX if too_many else timedelta(seconds=int(digits[-len(str(timedelta.max.days)) :]))


def _until(date: str) -> timedelta:
    at = parsedate_to_datetime(date)  # without a zone, in the obsolete format of RFC 9110, which is UTC
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
