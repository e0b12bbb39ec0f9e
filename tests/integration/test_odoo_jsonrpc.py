"""The JSON-RPC transport over real sockets: session, second try, deadline, and what it records of a call."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from aigen_bridge.clients import odoo_jsonrpc
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-bot-user"
NO_ACCESS = ("res.partner", "read", [[1]])
HAS_ACCESS = ("aigen.image.request", "has_access", [[], "write"])


@pytest.fixture
def odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=KEY))


@pytest.fixture
async def url(odoo: OdooSimulator) -> AsyncIterator[str]:
    async with serving(odoo.app) as url:
        yield url


def opened(url: str, *, timeout: float = 10) -> Any:
    return closing(OdooJsonRpc(url, database="odoo", login="aigen-bridge", api_key=KEY, timeout=timeout, concurrency=2))


def logins(odoo: OdooSimulator) -> int:
    return [call.fields.get("method") for call in odoo.calls.to("jsonrpc")].count("login")


async def test_calls_share_one_login_and_after_an_error_it_is_made_again(odoo: OdooSimulator, url: str) -> None:
    with opened(url) as transport:
        await transport.login()
        assert [await transport.call(*HAS_ACCESS) for _ in range(2)] == [True, True]
        assert logins(odoo) == 1
        with pytest.raises(PermanentError) as caught:
            await transport.call(*NO_ACCESS)
        await transport.call(*HAS_ACCESS)

    assert caught.value.code == "odoo_accesserror"
    assert logins(odoo) == 2


async def test_the_version_needs_no_login(odoo: OdooSimulator, url: str) -> None:
    with opened(url) as transport:
        assert await transport.version() == "18.0"

    assert logins(odoo) == 0


async def test_the_timeout_covers_the_login_and_the_call_together(odoo: OdooSimulator, url: str) -> None:
    """Each of the three exchanges is quicker than the timeout, and together they are slower."""
    odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.3, times=None))
    with opened(url, timeout=0.5) as transport, pytest.raises(TransientError) as caught:
        await transport.call(*HAS_ACCESS)

    assert (caught.value.code, caught.value.away) == ("odoo_timeout", False)


async def test_each_call_of_a_model_is_one_line_in_the_log_with_the_bytes_of_its_exchange(url: str) -> None:
    with opened(url) as transport, capture_logs() as lines:
        await transport.login()
        await transport.version()
        await transport.call(*HAS_ACCESS)
        with pytest.raises(PermanentError):
            await transport.call(*NO_ACCESS)

    answered, refused = [line for line in lines if line["event"] == "odoo.answered"]
    assert (answered["status"], answered["log_level"]) == (200, "info")
    assert (refused["status"], refused["log_level"], refused["code"]) == (200, "warning", "odoo_accesserror")
    assert (answered["path"], refused["path"]) == ("/jsonrpc", "/jsonrpc")
    assert min(line[size] for line in (answered, refused) for size in ("bytes_out", "bytes_in")) > 0


async def test_the_status_of_a_proxy_that_cannot_reach_odoo_is_recorded(odoo: OdooSimulator, url: str) -> None:
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=503))
    with opened(url) as transport, capture_logs() as lines, pytest.raises(TransientError) as caught:
        await transport.call(*HAS_ACCESS)

    [answered] = [line for line in lines if line["event"] == "odoo.answered"]
    assert (answered["status"], answered["code"]) == (503, "odoo_http_503")
    assert caught.value.away


class TestRefused:
    """Nothing listens at the address; `listening_later` starts to while the transport waits for its second try."""

    async def test_a_refused_connection_is_tried_once_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with listening_later() as server:
            monkeypatch.setattr(odoo_jsonrpc, "wait_fixed", lambda _seconds: _activate(server))
            with opened(f"http://127.0.0.1:{server.server_port}") as transport:
                assert await transport.version() == "18.0"

    async def test_two_refused_connections_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusals: list[Any] = []
        monkeypatch.setattr(odoo_jsonrpc, "wait_fixed", lambda _seconds: lambda state: refusals.append(state) or 0)
        with listening_later() as server, opened(f"http://127.0.0.1:{server.server_port}") as transport:
            call = transport.call(*HAS_ACCESS)
            with pytest.raises(TransientError) as caught:
                await call

        assert (caught.value.code, caught.value.away, len(refusals)) == ("odoo_unreachable", True, 2)


class Version(BaseHTTPRequestHandler):
    """Answers every call with the version of an Odoo."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"jsonrpc": "2.0", "result": {"server_version": "18.0"}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@contextmanager
def listening_later() -> Iterator[HTTPServer]:
    """A server whose port is taken and refuses connections until it is activated."""
    server = HTTPServer(("127.0.0.1", 0), Version, bind_and_activate=False)
    server.server_bind()
    try:
        yield server
    finally:
        server.server_close()


def _activate(server: HTTPServer) -> Any:
    """A wait of no time, during which the server starts to listen and to answer one call."""

    def wait(_state: object) -> float:
        server.server_activate()
        Thread(target=server.handle_request, daemon=True).start()
        return 0

    return wait
