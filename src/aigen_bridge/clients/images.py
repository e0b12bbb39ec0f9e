"""Images at URLs that somebody else chose: nothing private is reached, and nothing that comes back can hurt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext
from uuid import UUID

import httpcore
import httpx

from aigen_bridge.clients.guard import CONNECT_SECONDS, GuardedNetwork, Resolver, resolve
from aigen_bridge.clients.http_errors import refusal, silence
from aigen_bridge.clients.outbound import outbound
from aigen_bridge.domain.address import SHOWN_MAX, IPNetwork, WebAddress, checked_redirect, checked_url
from aigen_bridge.domain.destination import IMAGE_HOSTS
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.domain.image import MEDIA_TYPES

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX = 3
ACCEPTED = frozenset({*MEDIA_TYPES.values(), "application/octet-stream"})
GONE = frozenset({401, 403, 404, 410})
"""How object stores say that a temporary URL has expired."""
PAGES = frozenset({"text/html", "text/plain"})
"""Media types of a page that another program served in the image's place."""
RESTART_TRIES = 6
"""Tries, over half a minute, before a page or a 404 is final. N8N may serve the image, and answers with both while it
starts."""


class ImageFetcher:
    """Fetches images. `timeout` in seconds, for everything from the name to the last byte, redirects included.

    httpcore and not httpx: redirects, cookies, proxies from the environment, decompression and a log line with the
    whole URL would all have to be switched off there, and the guard has no public place to stand in.
    Each request has a connection of its own, so none is used that was opened for something else.
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
        self._tls = _trust()

    async def fetch(self, url: str, *, correlation_id: UUID) -> bytes:  # noqa: ARG002 - see _headers
        """The bytes at the URL; whether they are an image is for others to say.

        Raises `TransientError` or `PermanentError`. No message of theirs has the URL's query.
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

    async def close(self) -> None:
        """Nothing to close: no connection outlives its request."""

    async def _followed(self, address: WebAddress) -> bytes:
        for _ in range(REDIRECTS_MAX + 1):
            answer = await self._requested(address)
            if isinstance(answer, bytes):
                return answer
            address = answer
        raise PermanentError("image_redirects", f"More than {REDIRECTS_MAX} redirects; the last is to {address}.")

    async def _requested(self, address: WebAddress) -> bytes | WebAddress:
        """The content, or where the answer redirects to."""
        try:
            async with self._answered(address) as answer:
                headers = httpx.Headers(answer.headers)
                if answer.status in REDIRECTS:  # its body is not read
                    return self._redirected(address, headers)
                self._refuse(address, answer.status, headers)
                return await self._content(address, answer)
        except httpcore.TimeoutException as error:
            raise silence(str(address), TimeoutError()) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            # h11 quotes what it could not read after a colon: strangers' words, and the query may be among them
            said = str(error).partition(": ")[0] if isinstance(error, httpcore.ProtocolError) else str(error)
            raise silence(str(address), httpx.TransportError(said)) from error

    @asynccontextmanager
    async def _answered(self, address: WebAddress) -> AsyncIterator[httpcore.Response]:
        url = httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target.encode())
        limits = {"connect": min(CONNECT_SECONDS, self._timeout)}  # all else ends with the deadline for everything
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
        """Raise unless the answer's head announces what can be taken."""
        if status != httpx.codes.OK:
            raise _refusal(address, status, headers)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in {"", "identity"}:  # we asked for none, and unpacking is how bombs go off
            raise PermanentError("image_encoding", f"{address} is compressed ({encoding[:SHOWN_MAX]!r}).")
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type and media_type not in ACCEPTED:
            detail = f"{address} is {media_type[:SHOWN_MAX]!r}, which is no image."
            if media_type in PAGES:
                raise TransientError("image_media_type", detail, tries=RESTART_TRIES)
            raise PermanentError("image_media_type", detail)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(address)

    async def _content(self, address: WebAddress, answer: httpcore.Response) -> bytes:
        """The body. Whatever length was announced, reading stops at the limit."""
        content = bytearray()
        async for chunk in answer.aiter_stream():
            content += chunk
            await asyncio.sleep(0)  # one read holds 10,000 chunks of a byte: let the others work in between
            if len(content) > self._max_bytes:
                raise self._too_large(address)
        return bytes(content)

    def _too_large(self, address: WebAddress) -> PermanentError:
        return PermanentError("image_too_large", f"{address} is larger than {self._max_bytes} bytes.")


def _headers(address: WebAddress) -> list[tuple[bytes | str, bytes | str]]:
    """What the stranger is told.

    No X-Correlation-ID: it joins our records with N8N's and Odoo's, in which who serves images has no part.
    No cookies and no keys: the URL is all the permission there is.
    """
    return [
        ("Host", address.authority),
        ("User-Agent", "aigen-bridge"),
        ("Accept", ", ".join(sorted(ACCEPTED))),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _refusal(address: WebAddress, status: int, headers: httpx.Headers) -> StepError:
    """The body is not quoted: object stores repeat the URL's credentials in their errors."""
    hint = " The URL has expired or is wrong." if status in GONE else ""
    answer = httpx.Response(status, headers={"Retry-After": headers.get("retry-after", "")})
    error = refusal(str(address), answer, "", hint=hint)
    if status == httpx.codes.NOT_FOUND:
        return TransientError(error.code, error.detail, http_status=status, tries=RESTART_TRIES)
    return error


def _trust() -> SSLContext:
    """Whom the other clients trust (SSL_CERT_FILE or certifi), and whom this machine trusts."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context
