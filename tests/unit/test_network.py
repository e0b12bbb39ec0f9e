"""Proxies and certificates, as the variables of the environment name them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme

from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.clients.outbound import way_out
from aigen_bridge.clients.probe import ask
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StepError
from aigen_bridge.network import complaints, proxy_for, tls_context
from aigen_bridge.settings import DatabaseSettings, LoggingSettings, WrongSettingsError, load
from aigen_bridge.settings.sections import N8nSettings

PROXY = "http://proxy.example:3128"
VARIABLES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "ssl_cert_file",
    "ssl_cert_dir",
    "requests_ca_bundle",
)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("entries", "url", "direct"),
    [
        ("[::1]", "http://[2001:db8::1]", False),
        ("[2001:db8::1]", "http://[2001:DB8::1]:8069", True),
        ("2001:db8::/32", "http://[2001:db8::7]", True),
        ("10.0.0.0/8", "http://10.1.2.3:5678", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.7", "http://10.0.0.7", True),
        ("example.com", "https://n8n.example.com", True),
        ("example.com", "https://example.com", True),
        (".example.com, *.example.org", "https://n8n.example.org", True),
        ("example.com", "https://notexample.com", False),
        ("Example.COM.", "https://n8n.example.com", True),
        ("n8n:5678", "http://n8n:5678", True),
        ("n8n:5678", "http://n8n:5679", False),
        ("n8n:443", "https://n8n", True),
        ("http://n8n/ odoo", "http://n8n:5678", True),
        ("n8n odoo", "http://odoo:8069", True),
        ("*", "https://n8n.example.com", True),
        ("", "https://n8n.example.com", False),
        ("", "http://127.0.0.1:5678", True),
        ("", "http://[::1]:5678", True),
        ("", "http://localhost:5678", True),
    ],
)
def test_no_proxy_names_hosts_in_every_usual_way(entries: str, url: str, direct: object) -> None:
    environment = {"ALL_PROXY": PROXY, "NO_PROXY": entries}

    assert complaints(environment) == []
    assert proxy_for(url, environment) == (None if direct else PROXY)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),
        ({"https_proxy": " proxy.example:3128\n"}, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, None),
        ({"HTTPS_PROXY": "http://u:p%40w@proxy.example:3128/"}, "http://u:p%40w@proxy.example:3128"),
        ({"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "ALL_PROXY": "socks://127.0.0.1:7891/"}, PROXY),
        ({"ALL_PROXY": "socks5h://127.0.0.1:1080", "NO_PROXY": "*"}, None),
    ],
)
def test_a_proxy_is_found_as_curl_finds_it(environment: dict[str, str], proxy: str | None) -> None:
    assert complaints(environment) == []
    assert proxy_for("https://n8n.example.com/webhook", environment) == proxy


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ALL_PROXY", "socks5h://user:SECRET@h:1080", "'socks5h://user:***@h:1080' is not the address of an HTTP"),
        ("HTTPS_PROXY", "http://user:SEC RET@h", "'http://user:***@h' has blanks"),
        ("HTTP_PROXY", "http://user:SECRET@h:99999", "'http://user:***@h:99999' has no host, or a port that is none"),
        ("HTTP_PROXY", "http://user:SECRET/x@h:1", "'http://user:***@h:1' has no host, or a port"),
        ("HTTP_PROXY", "user:SECRET@", "'user:***@' has no host"),
        ("HTTP_PROXY", "http://::1:3128", "has no host, or a port"),
        ("HTTP_PROXY", "http://h:0", "has no host, or a port"),
        ("HTTP_PROXY", "ftp://h:1", "is not the address of an HTTP proxy"),
        ("NO_PROXY", "localhost,10.0.0.0/33", "'10.0.0.0/33' in it matches no host"),
        ("NO_PROXY", "10.*", "'10.*' in it matches no host"),
        ("NO_PROXY", "10.0.", "'10.0.' in it matches no host"),
        ("NO_PROXY", "[::1", "'[::1' in it matches no host"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "'/nowhere/ca.pem' cannot be read (no such file or directory)"),
        ("SSL_CERT_FILE", "/", "'/' cannot be read (is a directory)"),
        ("SSL_CERT_FILE", __file__, f"{__file__!r} holds no certificate"),
        ("SSL_CERT_FILE", "/dev/null", "'/dev/null' holds no certificate"),
        ("SSL_CERT_DIR", "/nowhere", "'/nowhere' is no folder with certificates; name a folder that 'openssl rehash'"),
        ("REQUESTS_CA_BUNDLE", "/nowhere", "'/nowhere' cannot be read"),
        ("SSLKEYLOGFILE", "/nowhere/keys", "'/nowhere/keys' cannot be written"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "'collector:4317' cannot be called; write an http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collec tor:4318", "cannot be called"),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_used_is_named_with_its_value_and_what_to_do(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettingsError) as caught:
        load(type("Calling", (LoggingSettings,), {"calls_out": True}))
    [line] = caught.value.lines

    assert line.startswith(f"{name} is wrong: ")
    assert said in line
    assert "SEC" not in line.replace("SSL_CERT", "")
    monkeypatch.setenv("AIGEN_DATABASE_URL", "postgresql://u@h/d")
    assert load(DatabaseSettings).database_url  # `migrate` calls nobody


@pytest.mark.parametrize("environment", [{"SSL_CERT_FILE": "", "SSL_CERT_DIR": "", "REQUESTS_CA_BUNDLE": ""}, {}])
def test_an_empty_variable_is_none(environment: dict[str, str]) -> None:
    assert complaints(environment) == []
    assert len(tls_context(environment).get_ca_certs()) > 50


def test_a_bundle_of_our_own_is_trusted_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path / 'ca.pem'}\n")
    ours = ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode())

    assert complaints() == []
    assert ours in way_out("https://n8n.example.com")["verify"].get_ca_certs(binary_form=True)


def test_the_doctor_names_it_and_looks_at_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("AIGEN_DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setenv("AIGEN_N8N__WEBHOOK_URL", "http://n8n/webhook")
    monkeypatch.setenv("AIGEN_N8N__API_KEY", "key-of-the-webhook")
    subject = Subject.here()

    assert any(line.startswith("SSL_CERT_FILE is wrong") for line in subject.complaints)
    assert (subject.n8n, subject.database_url is None) == (None, False)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert isinstance(Subject.here().n8n, N8nSettings)


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """A proxy that answers 503 to everything, and what it was asked."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://user:SECRET@127.0.0.1:{port}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:SECRET@127.0.0.1:{port}")
        yield asked


async def test_every_client_goes_through_the_proxy_and_no_error_shows_its_password(proxy: list[str]) -> None:
    webhook = N8nWebhook("https://n8n.test/webhook", "key", timeout=5, concurrency=1)
    odoo = OdooJsonRpc("http://odoo.test", database="d", login="l", api_key="k", timeout=5, concurrency=1)

    async def send() -> Any:
        return await webhook.send({}, correlation_id=uuid4(), message_id="m")

    errors = []
    for call in (send, odoo.version):
        with pytest.raises(StepError) as caught:
            await call()
        errors.append(str(caught.value))
    answer = await ask("GET", "http://bridge.test/x", who="http://bridge.test")
    await webhook.close()
    await odoo.aclose()

    assert "through the proxy http://user:***@127.0.0.1:" in errors[0]
    assert "SECRET" not in "".join(errors)
    assert answer.status == 503
    assert {request.split(" HTTP")[0] for request in proxy} == {
        "CONNECT n8n.test:443",
        "POST http://odoo.test/jsonrpc",
        "GET http://bridge.test/x",
    }
    assert all("proxy-authorization: basic dxnlcjptrunsrvq=" in request.lower() for request in proxy)
