"""`serve` ends TLS itself and asks for client certificates: none, or one by another CA, does not get in."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme

from aigen_bridge.api.tls import ServedTls
from aigen_bridge.settings import rotation
from processes import run, started


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(folder: Path, name: str, certificate: trustme.LeafCert) -> tuple[str, str]:
    """A certificate and its key as files."""
    paths = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    certificate.cert_chain_pems[0].write_to_path(paths[0])
    certificate.private_key_pem.write_to_path(paths[1])
    return paths


@pytest.fixture
async def url(authority: trustme.CA, configured: dict[str, str], tmp_path: Path) -> AsyncIterator[str]:
    """A service that lets only callers with a certificate by `authority` in."""
    certificate, key = written(tmp_path, "server", authority.issue_cert("127.0.0.1"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = {
        "AIGEN_TLS__CERTIFICATE": certificate,
        "AIGEN_TLS__KEY": key,
        "AIGEN_TLS__CLIENT_CA": str(tmp_path / "ca.pem"),
    }
    arguments = ("serve", "--port", "0")
    async with started(*arguments, environment=configured | tls, cwd=tmp_path, ready="running on") as api:
        port = api.said.split("127.0.0.1:")[-1].split()[0].rstrip('",')
        yield f"https://127.0.0.1:{port}"


def trusting(authority: trustme.CA, *own: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if own:
        context.load_cert_chain(*own)
    return context


async def test_a_certificate_by_our_ca_gets_in(url: str, authority: trustme.CA, tmp_path: Path) -> None:
    own = written(tmp_path, "n8n", authority.issue_cert("n8n.test"))
    async with httpx.AsyncClient(verify=trusting(authority, *own)) as client:
        assert (await client.get(f"{url}/health/live")).status_code == 200


async def test_no_certificate_does_not_get_in(url: str, authority: trustme.CA) -> None:
    async with httpx.AsyncClient(verify=trusting(authority)) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/health/live")


async def test_a_certificate_by_another_ca_does_not_get_in(url: str, authority: trustme.CA, tmp_path: Path) -> None:
    stranger = written(tmp_path, "stranger", trustme.CA().issue_cert("n8n.test"))
    async with httpx.AsyncClient(verify=trusting(authority, *stranger)) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/health/live")


async def test_plain_http_does_not_get_in(url: str) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(url.replace("https", "http") + "/health/live")


def test_a_caller_whose_authority_is_gone_does_not_get_in_again(tmp_path: Path, authority: trustme.CA) -> None:
    """Neither with a new connection, nor by resuming the session of one before."""
    served, renewed = ServedTls(), trustme.CA()
    certificate, key = written(tmp_path, "served", authority.issue_cert("127.0.0.1"))

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(tmp_path / "authorities.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    authority.cert_pem.write_to_path(str(tmp_path / "authorities.pem"))
    listening = served.open(make)
    caller = trusting(authority, *written(tmp_path, "caller", authority.issue_cert("n8n.test")))
    session = handshake(listening, caller)
    renewed.cert_pem.write_to_path(str(tmp_path / "authorities.pem"))
    served.renew()
    for used in (None, session):
        with pytest.raises(ssl.SSLError):
            handshake(listening, caller, used)


def handshake(listening: ssl.SSLContext, caller: ssl.SSLContext, session: object = None) -> object:
    """Greets both ways, and returns the caller's session. Raises `SSLError` if one side refuses the other."""
    to_server, to_caller = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = listening.wrap_bio(to_server, to_caller, server_side=True)
    client = caller.wrap_bio(to_caller, to_server, server_hostname="127.0.0.1", session=session)
    for step in (client.do_handshake, server.do_handshake, client.do_handshake, server.do_handshake):
        with contextlib.suppress(ssl.SSLWantReadError):
            step()
    server.write(b"hello")
    assert client.read(5) == b"hello"
    return client.session


@pytest.mark.rotation
async def test_new_certificates_are_used_without_a_restart_and_no_handshake_fails(
    url: str, authority: trustme.CA, tmp_path: Path
) -> None:
    """A certificate without its key changes nothing."""
    renewed = trustme.CA()
    both = trusting(authority, *written(tmp_path, "n8n", authority.issue_cert("n8n.test")))
    renewed.configure_trust(both)
    stop, served = asyncio.Event(), Counter[int]()

    async def call_on_and_on() -> None:
        while not stop.is_set():
            async with httpx.AsyncClient(verify=both) as client:
                served[(await client.get(f"{url}/health/live")).status_code] += 1

    calling = [asyncio.create_task(call_on_and_on()) for _ in range(2)]
    before = await serial_number(url, both)
    certificate = renewed.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    await asyncio.sleep(2 * rotation.EVERY)
    assert await serial_number(url, both) == before  # its key is missing

    written(tmp_path, "server", certificate)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes() + renewed.cert_pem.bytes())
    async with asyncio.timeout(20):
        while await serial_number(url, both) == before:
            await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*calling)
    assert set(served) == {200}

    own = written(tmp_path, "new", renewed.issue_cert("n8n.test"))
    async with httpx.AsyncClient(verify=trusting(renewed, *own)) as client:
        assert (await client.get(f"{url}/health/live")).status_code == 200


async def serial_number(url: str, context: ssl.SSLContext) -> object:
    """The serial number of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), ssl=context)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "wrong",
    [
        {"AIGEN_TLS__CERTIFICATE": "/no/such/file", "AIGEN_TLS__KEY": "/no/such/file"},
        {"AIGEN_TLS__CLIENT_CA": "/etc/hosts"},
    ],
)
def test_half_of_a_tls_setting_stops_the_start(
    configured: dict[str, str], tmp_path: Path, wrong: dict[str, str]
) -> None:
    done = run("serve", environment=configured | wrong, cwd=tmp_path)

    assert done.returncode == 2
    assert all(line.startswith("AIGEN_TLS") for line in done.stderr.splitlines())
