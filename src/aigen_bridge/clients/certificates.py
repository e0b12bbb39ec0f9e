"""The expiry date of a TLS server's certificate."""

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

from aigen_bridge.domain.errors import TransientError
from aigen_bridge.network import proxy_for, tls_context

TIMEOUT = 10.0
"""Seconds for connection and handshake."""


async def certificate_ends(url: str) -> float | None:
    """Returns the certificate's expiry date in Unix seconds, or None for a URL without TLS or behind a proxy.

    Raises `TransientError` when the handshake fails, for example because the certificate has expired or is not trusted.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or proxy_for(url):
        return None
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=tls_context())
    except (OSError, TimeoutError) as error:
        raise TransientError("connection", f"{parts.netloc}: {error or type(error).__name__}") from error
    try:
        return float(ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"]))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
