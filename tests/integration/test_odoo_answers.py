"""What the Odoo client makes of the bytes that a server sends: redirects, broken bodies, and odd HTTP."""

import gzip
import json
from collections.abc import Callable
from contextlib import aclosing

import pytest
from structlog.testing import capture_logs

from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_exchange import ANSWER_MAX
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from raw_server import BOMB, JSON, answering, http

KEY = "key-of-the-bot-user"
LIMITS = ("aigen.image.request", "bridge_limits", {})
VERSION = b'{"jsonrpc": "2.0", "id": null, "result": {"server_version": "18.0"}}'


def transport(url: str) -> aclosing[OdooJsonRpc]:
    return aclosing(OdooJsonRpc(url, database="odoo", login="bridge", api_key=KEY, timeout=10, concurrency=1))


async def failed(*answers: bytes) -> StepError:
    async with answering(*answers) as (url, sent), transport(url) as odoo:
        with pytest.raises(StepError) as caught:
            await odoo.version()
    assert len(sent) == 1
    return caught.value


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_never_followed(status: str) -> None:
    async with answering(http("200 OK", VERSION)) as (elsewhere, asked):
        error = await failed(http(status, headers=f"Location: {elsewhere}/jsonrpc?secret=1\r\n"))

    assert isinstance(error, PermanentError)
    assert (error.code, asked) == (f"odoo_http_{status[:3]}", [])
    assert f"{elsewhere}/jsonrpc." in error.detail


@pytest.mark.parametrize(
    "answer",
    [
        http("404 Not Found", b"no gzip at all", "Content-Encoding: gzip\r\n"),
        http("404 Not Found", BOMB[:50_000], "Content-Encoding: gzip\r\n"),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\ntruncated",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno chunk",
        b"HTTP/1.1 404 Not Found\r\nContent-Encoding: br, x-odd\r\n\r\n<h1>Not found</h1>",
    ],
)
async def test_the_status_decides_over_a_body_that_cannot_be_read(answer: bytes) -> None:
    error = await failed(answer)

    assert isinstance(error, TransientError)
    assert (error.code, error.http_status, error.away) == ("odoo_http_404", 404, True)


@pytest.mark.parametrize(
    "answer",
    [
        http("204 No Content"),
        http("202 Accepted", b"queued"),
        http("200 OK", b"<h1>Back soon</h1>", "Content-Type: text/html\r\n"),
        http("200 OK", b'{"status": "maintenance"}', JSON),
        http("200 OK", b"no gzip at all", f"{JSON}Content-Encoding: gzip\r\n"),
        http("200 OK", BOMB, f"{JSON}Content-Encoding: gzip\r\n"),
        http("200 OK", VERSION, f"{JSON}Content-Encoding: br\r\n").replace(b"18.0", b"\xff\xff.."),
        http("200 OK", b" " * ANSWER_MAX + VERSION, JSON),
    ],
)
async def test_an_answer_that_is_not_odoos_is_unreadable(answer: bytes) -> None:
    error = await failed(answer)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("odoo_answer_unreadable", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + VERSION,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno chunk",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\n" + VERSION,
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_an_answer_that_breaks_off_or_is_no_http_is_none(answer: bytes) -> None:
    error = await failed(answer)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("odoo_unreachable", True)
    assert len(error.detail) < 500


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n" + VERSION,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + http("200 OK", VERSION),
        http("200 OK", gzip.compress(VERSION, mtime=0), "Content-Encoding: gzip\r\n"),
        http("201 Created", b"\xef\xbb\xbf" + VERSION),
    ],
)
async def test_odoos_answer_is_read_however_it_is_sent(answer: bytes) -> None:
    async with answering(answer) as (url, _), transport(url) as odoo:
        assert await odoo.version() == "18.0"


async def test_retry_after_is_read_and_one_that_is_too_large_is_no_shorter_wait() -> None:
    for value, seconds in (("120", 120), ("99999999999999999999", 3600), ("10\r\nRetry-After: 20", 20)):
        error = await failed(http("503 Unavailable", headers=f"Retry-After: {value}\r\n"))
        assert isinstance(error, TransientError)
        assert error.retry_after is not None
        assert error.retry_after.total_seconds() == seconds


async def test_a_server_that_repeats_what_it_was_sent_does_not_get_the_key_into_the_error() -> None:
    def login(result: object) -> bytes:
        return http("200 OK", json.dumps({"jsonrpc": "2.0", "result": result}).encode())

    echoes: list[Callable[[], bytes]] = [
        lambda: http("200 OK", f"You sent {KEY}".encode()),
        lambda: http("200 OK", f"<html>{'-' * 280} {KEY}".encode()),
        lambda: http("200 OK", json.dumps({"echo": KEY}).encode()),
        lambda: http("200 OK", json.dumps({"result": {"echo": KEY}}).encode()),
        lambda: http("200 OK", json.dumps({"error": {"data": {"name": "x.Y", "message": f"args: {KEY}"}}}).encode()),
        lambda: http("200 OK", json.dumps({"error": {"data": {"name": f"x.{KEY}", "message": ""}}}).encode()),
        lambda: http("200 OK", json.dumps({"error": {"data": {"name": "x", "message": "-" * 490 + KEY}}}).encode()),
    ]
    for echo in echoes:
        async with answering(login(7), login({}), echo()) as (url, _), transport(url) as odoo:
            with pytest.raises(StepError) as caught:
                await OdooClient(odoo).apply_result({})
        assert KEY[:6] not in f"{caught.value} {caught.value.code}"
        assert KEY[-6:] not in f"{caught.value} {caught.value.code}"


async def test_a_login_that_is_answered_with_the_key_does_not_get_it_into_the_error() -> None:
    echo = http("200 OK", json.dumps({"result": f"-------------------------------- {KEY}"}).encode())
    async with answering(echo, http("200 OK", b'{"result": {}}')) as (url, _), transport(url) as odoo:
        with pytest.raises(TransientError, match="odoo_answer_unreadable") as caught:
            await odoo.login()
    assert KEY[:6] not in str(caught.value)


async def test_an_ipv6_address_has_brackets_in_the_url_the_host_header_and_the_log() -> None:
    odoo = OdooSimulator(OdooSettings(api_key=KEY, login="bridge"))
    async with serving(odoo.app, host="::1") as url, transport(url) as client:
        with capture_logs() as lines:
            assert await client.call(*LIMITS)

    authority = url.removeprefix("http://")
    assert authority.startswith("[::1]:")
    assert {call.headers["host"] for call in odoo.calls.to("jsonrpc")} == {authority}
    assert [line["host"] for line in lines if line["event"] == "odoo.answered"] == [authority]


async def test_only_the_host_of_the_address_counts_and_its_default_port_is_not_named() -> None:
    async with (
        transport("https://odoo.test:443/odoo?db=x") as tls,
        transport("http://user:secret@[2001:db8::1]:8069/web/") as ipv6,
    ):
        assert tls._url == "https://odoo.test:443/jsonrpc"
        assert ipv6._url == "http://[2001:db8::1]:8069/jsonrpc"
