"""The JSON-RPC transport over real sockets: session, second try, deadline, and what it records of a call."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from aigen_bridge.clients import odoo_exchange, odoo_login
from aigen_bridge.clients.odoo_errors import COOLDOWN
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.clients.odoo_login import LoginPause
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-bot-user"
NO_ACCESS = ("res.partner", "search_read", {"domain": []})
LIMITS = ("aigen.image.request", "bridge_limits", {})


@pytest.fixture
def odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=KEY))


@pytest.fixture
async def url(odoo: OdooSimulator) -> AsyncIterator[str]:
    async with serving(odoo.app) as url:
        yield url


def opened(url: str, *, timeout: float = 10, key: str = KEY) -> Any:
    return aclosing(
        OdooJsonRpc(url, database="odoo", login="aigen-bridge", api_key=key, timeout=timeout, concurrency=2)
    )


def logins(odoo: OdooSimulator) -> int:
    return [call.fields.get("method") for call in odoo.calls.to("jsonrpc")].count("login")


async def test_calls_share_one_login_and_faults_and_timeouts_do_not_end_it(odoo: OdooSimulator, url: str) -> None:
    async with opened(url, timeout=0.5) as transport:
        await transport.login()
        assert all([await transport.call(*LIMITS) for _ in range(2)])
        with pytest.raises(PermanentError) as refused:
            await transport.call(*NO_ACCESS)
        odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.7), Fault(kind=FaultKind.STATUS, status=503))
        for code in ("odoo_timeout", "odoo_http_503"):
            with pytest.raises(TransientError, match=code):
                await transport.call(*LIMITS)
        assert await transport.call(*LIMITS)

    assert refused.value.code == "odoo_accesserror"
    assert logins(odoo) == 1


@pytest.mark.parametrize("name", ["odoo.exceptions.AccessDenied", "odoo.http.SessionExpiredException"])
async def test_a_session_that_odoo_denies_is_replaced_within_the_same_call(
    odoo: OdooSimulator, url: str, name: str
) -> None:
    """As after a restore, in which the user has another id."""
    async with opened(url) as transport:
        await transport.login()
        odoo.settings = replace(odoo.settings, uid=8)
        assert await transport.call(*LIMITS)
        odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail="Access Denied"))
        assert await transport.call(*LIMITS)

    assert logins(odoo) == 3


async def test_a_wrong_key_is_refused_for_good_once_and_then_not_tried_for_a_while(
    odoo: OdooSimulator, url: str
) -> None:
    odoo.settings = replace(odoo.settings, api_key="another-key")
    async with opened(url) as transport:
        with pytest.raises(PermanentError, match="odoo_login_refused"):
            await transport.call(*LIMITS)
        for _ in range(5):
            with pytest.raises(TransientError, match="odoo_login_refused") as caught:
                await transport.call(*LIMITS)

    assert logins(odoo) == 1
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after.total_seconds() <= 65


async def test_the_pause_between_refused_logins_doubles_up_to_a_quarter_of_an_hour_and_ends_with_a_good_one() -> None:
    pause = LoginPause()
    lengths = [pause.refused().total_seconds() for _ in range(6)]
    with pytest.raises(TransientError):
        pause.check()
    pause.accepted()
    pause.check()

    assert lengths == [65, 130, 260, 520, 900, 900]
    assert pause.refused().total_seconds() == 65


async def test_a_key_that_worked_before_may_work_again_after_odoos_cooldown(odoo: OdooSimulator, url: str) -> None:
    """Somebody behind the same proxy failed to log in. Odoo answers `false` to a login, whatever the key."""
    async with opened(url) as transport, opened(url, key="wrong-key") as somebody:
        await transport.login()
        odoo.settings = replace(odoo.settings, cooldown_after=1, uid=8)
        with pytest.raises(PermanentError):
            await somebody.login()
        with pytest.raises(TransientError, match="odoo_login_cooldown") as ignored:
            await transport.call(*LIMITS)  # Odoo does not know this user and key yet
        assert logins(odoo) == 2
        odoo.settings = replace(odoo.settings, cooldown_seconds=0)
        assert await transport.call(*LIMITS)
        odoo.settings = replace(odoo.settings, api_key="revoked")
        with pytest.raises(TransientError, match="odoo_login_refused") as refused:
            await transport.call(*LIMITS)

    assert (ignored.value.retry_after, ignored.value.tries) == (COOLDOWN, None)
    assert (refused.value.retry_after, refused.value.tries) == (COOLDOWN, odoo_login.TRIES)


@pytest.mark.parametrize(
    ("name", "message", "away"),
    [
        ("builtins.KeyError", "'res.users'", False),
        ("odoo.http.RegistryError", "Cannot get registry", False),
        ("psycopg2.OperationalError", 'database "odoo" does not exist', True),
    ],
)
async def test_a_database_that_is_being_restored_breaks_the_login_only_for_now(
    odoo: OdooSimulator, url: str, name: str, message: str, *, away: bool
) -> None:
    odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail=message))
    async with opened(url) as transport:
        with pytest.raises(TransientError) as caught:
            await transport.call(*LIMITS)
        assert (caught.value.tries, caught.value.away) == (None, away)
        assert await transport.call(*LIMITS)


@pytest.mark.parametrize(("uid", "context"), [("true", "{}"), ('"7"', "{}"), ("1.5", "{}"), ("7", "[]"), ("7", "null")])
async def test_a_login_that_answers_no_user_is_unreadable(
    odoo: OdooSimulator, url: str, uid: str, context: str
) -> None:
    for result in (uid, context):
        odoo.faults.add(Fault(kind=FaultKind.BODY, status=200, detail=f'{{"jsonrpc": "2.0", "result": {result}}}'))
    async with opened(url) as transport:
        with pytest.raises(TransientError, match="odoo_answer_unreadable"):
            await transport.login()


async def test_the_version_needs_no_login(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        assert await transport.version() == "18.0"

    assert logins(odoo) == 0


async def test_the_timeout_covers_the_login_and_the_call_together(odoo: OdooSimulator, url: str) -> None:
    """Each of the three exchanges is quicker than the timeout, and together they are slower."""
    odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.3, times=None))
    async with opened(url, timeout=0.5) as transport:
        with pytest.raises(TransientError) as caught:
            await transport.call(*LIMITS)

    assert (caught.value.code, caught.value.away) == ("odoo_timeout", False)


async def test_an_odoo_that_answers_again_is_reached_after_any_number_of_timeouts(
    odoo: OdooSimulator, url: str
) -> None:
    """More calls than threads, which end at the same moment."""
    async with opened(url, timeout=0.3) as transport:
        for _ in range(5):
            odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=30, times=None))
            errors = await asyncio.gather(*(transport.version() for _ in range(10)), return_exceptions=True)
            assert {str(error)[:12] for error in errors} == {"odoo_timeout"}
            odoo.faults.clear()
            assert await transport.version() == "18.0"


async def test_each_call_of_a_model_is_one_line_in_the_log_with_the_bytes_of_its_exchange(url: str) -> None:
    async with opened(url) as transport:
        with capture_logs() as lines:
            await transport.login()
            await transport.version()
            await transport.call(*LIMITS)
            with pytest.raises(PermanentError):
                await transport.call(*NO_ACCESS)

    answered, refused = [line for line in lines if line["event"] == "odoo.answered"]
    assert (answered["status"], answered["log_level"]) == (200, "info")
    assert (refused["status"], refused["log_level"], refused["code"]) == (200, "warning", "odoo_accesserror")
    assert (answered["path"], refused["path"]) == ("/jsonrpc", "/jsonrpc")
    assert min(line[size] for line in (answered, refused) for size in ("bytes_out", "bytes_in")) > 0


async def test_the_status_of_a_proxy_that_cannot_reach_odoo_is_recorded(odoo: OdooSimulator, url: str) -> None:
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=503))
    async with opened(url) as transport:
        with capture_logs() as lines, pytest.raises(TransientError) as caught:
            await transport.call(*LIMITS)

    [answered] = [line for line in lines if line["event"] == "odoo.answered"]
    assert (answered["status"], answered["code"]) == (503, "odoo_http_503")
    assert caught.value.away


class TestRefused:
    """Nothing listens at the address; `listening_later` starts to while the transport waits for its second try."""

    async def test_a_refused_connection_is_tried_once_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with listening_later() as server:
            monkeypatch.setattr(odoo_exchange, "wait_fixed", lambda _seconds: _activate(server))
            async with opened(f"http://127.0.0.1:{server.server_port}") as transport:
                assert await transport.version() == "18.0"

    async def test_two_refused_connections_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusals: list[Any] = []
        monkeypatch.setattr(odoo_exchange, "wait_fixed", lambda _seconds: lambda state: refusals.append(state) or 0)
        with listening_later() as server:
            async with opened(f"http://127.0.0.1:{server.server_port}") as transport:
                call = transport.call(*LIMITS)
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
