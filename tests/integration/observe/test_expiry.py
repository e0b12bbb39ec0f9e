"""What ends by itself is told in time: certificates on our ways, and the API key for Odoo."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from aigen_bridge.clients.certificates import certificate_ends
from aigen_bridge.domain.errors import TransientError
from aigen_bridge.metrics import as_text
from aigen_bridge.settings.rotation import Rotation
from aigen_bridge.worker.certificates import watch_expiry
from scrape import read
from stage import UNREACHABLE, make_settings

ENDS = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@asynccontextmanager
async def tls_server(authority: trustme.CA, ends: datetime) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=ends).configure_cert(context)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this process trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


async def test_the_end_of_a_certificate_and_of_the_key_are_told(authority: trustme.CA) -> None:
    async with tls_server(authority, ENDS) as url:
        odoo = UNREACHABLE["odoo"] | {"url": url, "login": "expiring", "api_key_expires": "2030-01-02T03:04:05Z"}
        settings = make_settings("postgresql://nowhere/x", odoo=odoo)
        stop = asyncio.Event()
        watching = asyncio.create_task(watch_expiry(Rotation(settings), stop))
        async with asyncio.timeout(20):
            while "aigen_certificate_expiry_timestamp_seconds{" not in as_text().decode():
                await asyncio.sleep(0.02)
        stop.set()
        await watching
    told = read(as_text().decode())
    assert told.value("aigen_certificate_expiry_timestamp_seconds", endpoint="odoo") == ENDS.timestamp()
    assert told.value("aigen_odoo_api_key_expiry_timestamp_seconds", login="expiring", odoo="default") == 1893553445


async def test_an_address_without_tls_has_no_certificate() -> None:
    assert await certificate_ends("http://127.0.0.1:9") is None


async def test_a_certificate_that_has_ended_is_an_error_with_its_address(authority: trustme.CA) -> None:
    async with tls_server(authority, datetime(2021, 1, 1, tzinfo=UTC)) as url:
        with pytest.raises(TransientError, match=url.removeprefix("https://")):
            await certificate_ends(url)
