"""Fetches images from untrusted URLs. Private addresses are refused, and responses are limited and checked."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import httpcore
import httpx

from aigen_bridge.clients.guard import CONNECT_SECONDS, GuardedNetwork, Resolver, resolve
from aigen_bridge.clients.http_errors import refusal, silence
from aigen_bridge.clients.outbound import outbound
from aigen_bridge.domain.address import SHOWN_MAX, IPNetwork, WebAddress, checked_redirect, checked_url
from aigen_bridge.domain.destination import IMAGE_HOSTS
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.domain.image_content import describe, is_image, is_text, is_text_type
from aigen_bridge.network import tls_context

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 3
GONE = frozenset({401, 403, 404, 410})
"""Statuses with which object stores report that a temporary URL has expired."""
MAY_APPEAR = frozenset({403, 404})
"""Statuses with which object stores also report an object that is not visible yet; 403 hides whether it exists."""
RESTART_TRIES = 6
"""Attempts, over half a minute, before a page, an empty body or a 404 is final. N8N may serve the image, and responds
with pages and 404 during startup."""
UNPACKED = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""Compressions that are undone -> their `wbits`."""
PACKED = frozenset({*UNPACKED, "br", "zstd", "compress", "x-compress", "dcb", "dcz"})
"""Content codings that are compressions. Object stores return whatever the uploader wrote into this header, such as
`aws-chunked`, `utf-8`, `base64` or `none`: all of these leave the body as it is."""
SIGNATURE_BYTES = 16
"""Enough to recognise an image."""


class ImageFetcher:
    """Fetches images. `timeout`, in seconds, covers everything from name resolution to the last byte, with redirects.

    It uses httpcore instead of httpx. In httpx, redirects, cookies, proxies from the environment, decompression and a
    log line with the whole URL would all have to be disabled, and there is no public API for the guard.
    Each request opens its own connection, so it never uses one that was opened for another request.
    """

    def __init__(
        self,
        *,
        timeout: float,
        max_bytes: int,
        allow_http: bool = False,
        allowed_hosts: tuple[str, ...] = (),
        trusted_networks: tuple[IPNetwork, ...] = (),
        resolver: Resolver = resolve,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._allow_http = allow_http
        self._allowed_hosts = allowed_hosts
        self._guard = partial(GuardedNetwork, resolver, trusted_networks, network or httpcore.AnyIOBackend())
        self._tls = tls_context()

    def renew_trust(self) -> None:
        """Reads the trusted authorities again."""
        self._tls = tls_context()

    async def fetch(self, url: str, *, correlation_id: UUID) -> bytes:  # noqa: ARG002 - see _headers
        """Returns the bytes at the URL. Does not check whether they are an image.

        Raises `TransientError` or `PermanentError`. Their messages never contain the URL's query.
        """
        address = checked_url(url, allow_http=self._allow_http, allowed_hosts=self._allowed_hosts)
        with outbound(IMAGE_HOSTS.name, "GET", str(address)) as call:
            try:
                async with asyncio.timeout(self._timeout):
                    content = await self._followed(address)
            except TimeoutError as error:
                raise silence(str(address), error) from error
            call.status, call.bytes_in = httpx.codes.OK, len(content)
            return content

    async def _followed(self, address: WebAddress) -> bytes:
        for _ in range(REDIRECTS_MAX + 1):
            answer = await self._requested(address)
            if isinstance(answer, bytes):
                return answer
            address = answer
        raise PermanentError("image_redirects", f"More than {REDIRECTS_MAX} redirects; the last is to {address}.")

    async def _requested(self, address: WebAddress) -> bytes | WebAddress:
        """Makes one request. Returns the content, or the address to which the response redirects."""
        try:
            async with self._answered(address) as answer:
                headers = httpx.Headers(answer.headers)
                if answer.status in REDIRECTS:  # the body is not read
                    return self._redirected(address, headers)
                self._refuse(address, answer.status, headers)
                return await self._content(address, answer, headers)
        except httpcore.TimeoutException as error:
            raise silence(str(address), TimeoutError()) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            # h11 quotes unreadable input after a colon; it is untrusted and may contain the query
            reason = str(error).partition(": ")[0] if isinstance(error, httpcore.ProtocolError) else str(error)
            raise silence(str(address), httpx.TransportError(reason)) from error

    @asynccontextmanager
    async def _answered(self, address: WebAddress) -> AsyncIterator[httpcore.Response]:
        url = httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target.encode())
        limits = {"connect": min(CONNECT_SECONDS, self._timeout)}  # the overall deadline covers the rest
        async with (
            self._guard() as guard,
            httpcore.AsyncHTTPConnection(url.origin, ssl_context=self._tls, network_backend=guard) as connection,
            connection.stream("GET", url, headers=_headers(address), extensions={"timeout": limits}) as answer,
        ):
            yield answer

    def _redirected(self, address: WebAddress, headers: httpx.Headers) -> WebAddress:
        location = headers.get("location", "")
        return checked_redirect(address, location, allow_http=self._allow_http, allowed_hosts=self._allowed_hosts)

    def _refuse(self, address: WebAddress, status: int, headers: httpx.Headers) -> None:
        """Raises an error unless status and declared length are acceptable."""
        if status != httpx.codes.OK and not _is_whole(status, headers):
            raise _refusal(address, status, headers)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(address)

    async def _content(self, address: WebAddress, answer: httpcore.Response, headers: httpx.Headers) -> bytes:
        """Reads the body. The bytes decide what it is: stores keep whatever type and encoding the uploader declared."""
        content = await self._body(address, answer, headers)
        if not content:
            raise TransientError("image_empty", f"{address} is empty.", tries=RESTART_TRIES)
        if not is_image(content) and (packed := _packed(headers)):
            content = await asyncio.to_thread(self._unpacked, address, content, packed)
        if is_text(content) or (is_text_type(_media_type(headers)) and not is_image(content)):
            raise _page(address, headers, content)
        return content

    async def _body(self, address: WebAddress, answer: httpcore.Response, headers: httpx.Headers) -> bytes:
        """Reads the body to the size limit, regardless of the declared length. A page is not read to its end."""
        content = bytearray()
        may_be_page = is_text_type(_media_type(headers))
        async for chunk in answer.aiter_stream():
            content += chunk
            await asyncio.sleep(0)  # one read may yield 10,000 one-byte chunks: let other tasks run in between
            if len(content) > self._max_bytes:
                raise self._too_large(address)
            if may_be_page and len(content) >= SIGNATURE_BYTES:
                if not is_image(bytes(content[:SIGNATURE_BYTES])) and not _packed(headers):
                    raise _page(address, headers, bytes(content))
                may_be_page = False
        return bytes(content)

    def _unpacked(self, address: WebAddress, content: bytes, packed: str) -> bytes:
        """Undoes a compression that was not requested. Stops at the size limit, so no bomb unpacks."""
        if packed not in UNPACKED:
            raise PermanentError("image_encoding", f"{address} is compressed ({packed!r}), which cannot be undone.")
        inflater = zlib.decompressobj(UNPACKED[packed])
        try:
            unpacked = inflater.decompress(content, self._max_bytes)
        except zlib.error as error:
            raise PermanentError("image_encoding", f"{address} says {packed!r} and cannot be unpacked.") from error
        if inflater.unconsumed_tail:
            raise PermanentError("image_encoding", f"{address} ({packed!r}) unpacks to over {self._max_bytes} bytes.")
        if not inflater.eof:
            raise TransientError("image_cut_off", f"{address} ({packed!r}) is cut off.", tries=RESTART_TRIES)
        return unpacked

    def _too_large(self, address: WebAddress) -> PermanentError:
        detail = f"{address} is larger than {self._max_bytes} bytes, which AIGEN_CALLBACK__MAX_BYTES allows."
        return PermanentError("image_too_large", detail)


def _headers(address: WebAddress) -> list[tuple[bytes | str, bytes | str]]:
    """Returns the request headers.

    They contain no X-Correlation-ID: it links the records of the bridge, N8N and Odoo, which do not concern an image
    server. They contain no cookies and no keys: the URL alone grants access. They prefer no type, because servers that
    convert images would send another file than the one that N8N has hashed.
    """
    return [
        ("Host", address.authority),
        ("User-Agent", "aigen-bridge"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _refusal(address: WebAddress, status: int, headers: httpx.Headers) -> StepError:
    """Returns the error for a non-200 response, without quoting the body.

    Object stores repeat the URL's credentials in their error bodies.
    """
    hint = " The URL has expired or is wrong." if status in GONE else ""
    answer = httpx.Response(status, headers={"Retry-After": headers.get("retry-after", "")})
    error = refusal(str(address), answer, "", hint=hint)
    if status in MAY_APPEAR or status == httpx.codes.PARTIAL_CONTENT:
        return TransientError(error.code, error.detail, http_status=status, tries=RESTART_TRIES)
    return error


def _is_whole(status: int, headers: httpx.Headers) -> bool:
    """Returns whether a 206, which nobody asked for, has the whole content (RFC 9110, section 14.4)."""
    parts = re.fullmatch(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})", headers.get("content-range", "").strip())
    return status == httpx.codes.PARTIAL_CONTENT and parts is not None and int(parts[1]) + 1 == int(parts[2])


def _packed(headers: httpx.Headers) -> str | None:
    """Returns the declared compression, if there is one. Several are returned as one that cannot be undone."""
    codings = [coding.strip().lower() for coding in headers.get("content-encoding", "").split(",")]
    packed = [coding for coding in codings if coding in PACKED]
    return ", ".join(packed)[:SHOWN_MAX] or None


def _media_type(headers: httpx.Headers) -> str:
    return str(headers.get("content-type", "")).partition(";")[0].strip().lower()


def _page(address: WebAddress, headers: httpx.Headers, content: bytes) -> TransientError:
    declared = _media_type(headers)[:SHOWN_MAX]
    detail = f"{address} is {describe(content)} (Content-Type {declared!r}), not an image."
    return TransientError("image_media_type", detail, tries=RESTART_TRIES)
