"""One exchange with Odoo's web server, on any transport: its deadline, its second try, and how an answer is read."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from aigen_bridge.clients.http_errors import UNCOMPRESSED, beginning
from aigen_bridge.clients.odoo_errors import unanswered, unreadable
from aigen_bridge.clients.outbound import Call, by_proxy

HEADERS = {"Content-Type": "application/json", **UNCOMPRESSED}
ANSWER_MAX = 4 * 2**20
"""Bytes of an answer. A result has hundreds; a fault has more, because of its traceback."""
CONNECT_SECONDS = 5.0
"""A host that does not accept a connection within this time is away; a busy Odoo still accepts."""
QUICK_TRIES, QUICK_WAIT = 2, 0.1
"""A refused connection carried nothing, so one quick second try is safe (wait in seconds)."""
KEY_MIN = 8
"""Characters of a key that is masked in answers. A shorter one would be found in ordinary words."""


def endpoint(url: str, path: str) -> str:
    """Returns the URL of `path` on the host of `url`: Odoo's interfaces are always at the root."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))


def phases(timeout: float) -> httpx.Timeout:
    """Returns the limits of httpx. Only connecting has one of its own; the whole call has a deadline."""
    return httpx.Timeout(None, connect=min(timeout / 2, CONNECT_SECONDS))


def connecting() -> AsyncRetrying:
    """Returns what repeats a call once whose connection was refused."""
    return AsyncRetrying(
        retry=retry_if_exception_type(httpx.ConnectError),
        stop=stop_after_attempt(QUICK_TRIES),
        wait=wait_fixed(QUICK_WAIT),
        reraise=True,
    )


@asynccontextmanager
async def answering(seconds: float, url: str) -> AsyncIterator[None]:
    """Limits the time of what is inside, and translates missing answers."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (httpx.HTTPError, TimeoutError) as error:
        raise unanswered(error, by_proxy(url)) from error


@asynccontextmanager
async def posting(
    http: httpx.AsyncClient, url: str, body: bytes, record: Call, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx.Response]:
    """POSTs a JSON body, and records it. Yields the response, whose body is not read yet."""
    record.status, record.bytes_out = None, record.bytes_out + len(body)
    sent = httpx.Headers({**HEADERS, **record.headers, **(headers or {})}, encoding="latin-1")
    async with http.stream("POST", url, content=body, headers=sent) as response:
        record.status = response.status_code
        yield response


async def answer_of(response: httpx.Response, record: Call, key: str) -> bytes:
    """Reads the body of a response, and hides the key in it.

    Raises `TransientError` if it is too long for an answer of Odoo's, or not compressed as announced.
    """
    try:
        answer = await beginning(response, ANSWER_MAX)
    except httpx.DecodingError as error:
        raise unreadable(response, f"it is not compressed as announced ({error})") from error
    record.bytes_in += response.num_bytes_downloaded
    if len(answer) >= ANSWER_MAX:
        raise unreadable(response, f"it is longer than {ANSWER_MAX} bytes")
    return _masked(answer, key)


def _masked(answer: bytes, key: str) -> bytes:
    """Hides the key in an answer, because errors quote answers, and some programs repeat what they were sent.

    Errors quote the beginning only, so a key that is masked in their text may have been cut before.
    """
    for form in (key, json.dumps(key)[1:-1]) if len(key) >= KEY_MIN else ():
        answer = answer.replace(form.encode(errors="replace"), b"***")
    return answer
