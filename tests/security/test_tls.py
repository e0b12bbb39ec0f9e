"""`serve` ends TLS itself and asks for client certificates: none, or one by another CA, does not get in."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme

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
