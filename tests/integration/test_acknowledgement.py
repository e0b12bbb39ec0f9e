"""Which answers of N8N's webhook acknowledge a request, and which say that N8N is away."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from uuid import uuid4

import pytest

from aigen_bridge.clients.n8n import JSON_MAX, N8nWebhook
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

HTML = "text/html; charset=utf-8"
STARTING = b"n8n is starting up. Please wait"
LOGIN = b"<!doctype html><title>Sign in</title>"
BOMB = gzip.compress(b"\0" * 50_000_000, 9)
LARGE = b'{"image": "' + b"A" * JSON_MAX + b'"}'


@asynccontextmanager
async def answering(head: str, body: bytes) -> AsyncIterator[str]:
    """A server that answers every call with these bytes; yields its webhook's URL."""
    length = "" if "Location" in head or "chunked" in head or " 204 " in head else f"Content-Length: {len(body)}\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\n{length}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        with suppress(ConnectionError):  # the caller may have read enough
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook/aigen"


async def post(url: str, *, seconds: float = 10) -> frozenset[str]:
    """Sends one event; returns what N8N's workflow speaks."""
    webhook = N8nWebhook(url, "key", timeout=seconds, concurrency=10)
    try:
        return await webhook.send({"prompt": "a"}, correlation_id=uuid4(), message_id="msg_1")
    finally:
        await webhook.close()


async def send(url: str, *, seconds: float = 10) -> StepError | None:
    """Sends one event; returns the error, or None when N8N has acknowledged it."""
    try:
        await post(url, seconds=seconds)
    except StepError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("202 Accepted", b"anything at all"),
        (f"202 Accepted\r\nContent-Type: {HTML}", LOGIN),
        ("204 No Content", b""),
        ("200 OK", b""),
        ("200 OK", b" \r\n"),
        ("200 OK\r\nContent-Type: application/json", b'{"message":"Workflow was started"}'),
        (f"200 OK\r\nContent-Type: {HTML}", b'{"message":"Workflow was started"}'),
        ("201 Created", b"[]"),
        ("200 OK", b'"started"'),
        ("200 OK\r\nContent-Type: application/json; charset=utf-8", LARGE),
    ],
)
async def test_these_answers_acknowledge(head: str, body: bytes) -> None:
    async with answering(head, body) as url:
        assert await send(url) is None


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
@pytest.mark.parametrize(
    ("body", "spoken"),
    [
        (b'{"speaks": ["generation"]}', {"generation"}),
        (b'{"speaks": ["generation", 3], "more": true}', {"generation"}),
        (b'{"speaks": null}', set()),
        (b'{"message":"Workflow was started"}', set()),
        (b"[]", set()),
        (b"", set()),
    ],
)
async def test_every_acknowledgement_may_say_what_the_workflow_speaks(
    status: str, body: bytes, spoken: set[str]
) -> None:
    async with answering(status, body) as url:
        assert await post(url) == spoken


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"200 OK\r\nContent-Type: {HTML}", STARTING),
        (f"200 OK\r\nContent-Type: {HTML}", LOGIN),
        ("200 OK\r\nContent-Type: application/json", STARTING),
        ("203 Non-Authoritative Information", LOGIN),
        ("200 OK", b"OK"),
        ("200 OK", b'{"message":'),
        ("200 OK", b"[" * 100_000),
        ("200 OK", b"\xff\xfe\xfa"),
        (f"200 OK\r\nContent-Type: {HTML}", LARGE),
        ("302 Found\r\nLocation: /signin", b""),
        ("307 Temporary Redirect\r\nLocation: https://elsewhere.test/", b""),
    ],
)
async def test_another_program_in_n8ns_place_is_an_unexpected_answer(head: str, body: bytes) -> None:
    async with answering(head, body) as url:
        error = await send(url)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("unexpected_answer", True)
    assert error.http_status == int(head[:3])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_not_followed_and_the_error_says_where_it_points_to(status: str) -> None:
    async with answering("202 Accepted", b"") as elsewhere:
        head = f"{status}\r\nLocation: {elsewhere.replace('//', '//user:secret@')}/login?token=secret"
        async with answering(head, b"") as url:
            error = await send(url)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("unexpected_answer", True)
    assert f"points to {elsewhere}/login." in error.detail
    assert "AIGEN_N8N__WEBHOOK_URL" in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize(
    ("head", "body", "code"),
    [
        ("404 Not Found\r\nContent-Encoding: gzip", b"no gzip", "http_404"),
        ("503 Unavailable\r\nContent-Encoding: deflate", b"no deflate", "http_503"),
        ("500 Error\r\nTransfer-Encoding: chunked", b"zz\r\nno chunk", "http_500"),
        ("403 Forbidden\r\nContent-Encoding: gzip", BOMB, "http_403"),
        ("200 OK\r\nContent-Encoding: gzip", b"no gzip", "unexpected_answer"),
        ("200 OK\r\nContent-Encoding: br", b"\x8b\x02\x80", "unexpected_answer"),
    ],
)
async def test_the_status_decides_over_a_body_that_cannot_be_read(head: str, body: bytes, code: str) -> None:
    async with answering(head, body) as url:
        error = await send(url)

    assert error is not None
    assert error.code == code
    assert error.detail.isprintable()


async def test_an_answer_compressed_by_a_proxy_acknowledges() -> None:
    async with answering(
        "200 OK\r\nContent-Encoding: gzip", gzip.compress(b'{"message":"Workflow was started"}', mtime=0)
    ) as url:
        assert await send(url) is None


async def test_the_error_shows_the_beginning_of_an_unexpected_answer() -> None:
    async with answering("200 OK", STARTING + b" " * 5000 + b"x" * 5000) as url:
        error = await send(url)

    assert error is not None
    assert "n8n is starting up. Please wait" in error.detail
    assert len(error.detail) < 600


@pytest.mark.parametrize("status", ["404 Not Found", "502 Bad Gateway", "503 Unavailable", "504 Gateway Timeout"])
async def test_n8n_is_away_when_its_webhook_is_not_there_or_a_proxy_answers(status: str) -> None:
    async with answering(f"{status}\r\nRetry-After: 3600", LOGIN) as url:
        error = await send(url)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == (f"http_{status[:3]}", True)
    assert error.retry_after is None  # the breaker finds out when N8N is back, much earlier than a proxy thinks


async def test_the_error_for_404_names_the_path_of_the_webhook() -> None:
    async with answering("404 Not Found", b"") as url:
        error = await send(url)

    assert error is not None
    assert "/webhook/aigen" in error.detail
    assert "AIGEN_N8N__WEBHOOK_URL" in error.detail


@pytest.mark.parametrize("status", [400, 401, 403, 405, 422])
async def test_a_refusal_is_permanent(status: int) -> None:
    async with answering(f"{status} No", b"") as url:
        assert isinstance(await send(url), PermanentError)


@pytest.mark.parametrize("status", [429, 500, 501, 507])
async def test_an_overloaded_n8n_is_not_away(status: int) -> None:
    async with answering(f"{status} No", b"") as url:
        error = await send(url)

    assert isinstance(error, TransientError)
    assert not error.away


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/webhook", "http://does-not-exist.invalid/webhook", "https://127.0.0.1:9/webhook"]
)
async def test_n8n_is_away_when_no_connection_can_be_made(url: str) -> None:
    error = await send(url)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("connection", True)


@pytest.mark.parametrize("first_bytes", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"])
async def test_a_connection_that_breaks_before_the_answer_is_whole_acknowledges_nothing(first_bytes: bytes) -> None:
    """As a container's port proxy does: it accepts, then closes, because nothing listens behind it."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first_bytes)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(break_off, "127.0.0.1", 0)
    async with server:
        error = await send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook")

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("connection", True)


async def test_a_slow_answer_is_a_timeout_and_no_outage() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the caller hangs up
        writer.close()
        await writer.wait_closed()
        over.set()

    over = asyncio.Event()
    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        error = await send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook", seconds=0.5)
        await asyncio.wait_for(over.wait(), 10)

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("timeout", False)


async def test_a_host_that_accepts_no_connection_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops connections silently once the queue of a listener that accepts nothing is full."""
    monkeypatch.setattr("aigen_bridge.clients.n8n.CONNECT_SECONDS", 0.5)
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = opened.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        error = await send(f"http://127.0.0.1:{listener.getsockname()[1]}/webhook")

    assert isinstance(error, TransientError)
    assert (error.code, error.away) == ("timeout", True)
