"""What a connection may take before anybody has shown a key: heads, time, idleness and numbers, on raw sockets."""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn

from aigen_bridge.api import connection
from aigen_bridge.api.connection import BoundedProtocol
from aigen_bridge.metrics import port as metrics_port
from aigen_bridge.sockets import bind
from processes import Running, started

HEAD = b"GET /health/live HTTP/1.1\r\nHost: bridge\r\n"
WHOLE = HEAD + b"\r\n"
MEGABYTE = 2**20


opened: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
async def hang_up() -> AsyncIterator[None]:
    """At the end of each test, whatever became of it."""
    yield
    for writer in opened:
        with contextlib.suppress(AttributeError):  # Python 3.11, if it closed by itself after its last byte
            writer.transport.abort()
        with contextlib.suppress(Exception):
            await writer.wait_closed()
    opened.clear()


class Caller:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        opened.append(writer)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, Any] | None]:
        """Status of the next answer, and its body if that is JSON."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = int(found[1]) if (found := re.search(r"content-length: (\d+)", head, re.IGNORECASE)) else 0
        body = await self.reader.readexactly(length)
        return int(head.split()[1]), json.loads(body) if "json" in head else None

    async def is_closed(self) -> bool:
        """Waits until the other side closes."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read(1) == b""
        return True


class Served:
    """A server with these limits, in this loop."""

    def __init__(self, server: uvicorn.Server, port: int, tls: ssl.SSLContext | None) -> None:
        self.server, self.port, self._tls = server, port, tls

    async def call(self, data: bytes = b"") -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, ssl=self._tls))
        if data:
            await caller.send(data)
        return caller

    async def until(self, connections: int) -> None:
        async with asyncio.timeout(10):
            while len(self.server.server_state.connections) != connections:
                await asyncio.sleep(0.01)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers GET at once, reads the body of PUT first, answers POST before its body, and is large at /large."""
    if scope["type"] != "http":
        return
    if scope["method"] == "PUT":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/slow":
        await scope["state"]["gate"].wait()
    body = b"x" * 20 * MEGABYTE if scope["path"] == "/large" else b"{}"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Served]:
    sock = bind("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, http=BoundedProtocol, ws="none", log_config=None, lifespan="off", **options)
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    server.lifespan.state["gate"] = asyncio.Event()
    await server.startup(sockets=[sock])
    trusted = options.get("ssl_certfile") and ssl.create_default_context(cafile=options["ssl_ca_certs"])
    try:
        yield Served(server, sock.getsockname()[1], trusted or None)
    finally:
        for listener in server.servers:
            listener.close()
        for each in list(server.server_state.connections):
            each.transport.abort()  # type: ignore[union-attr]


@pytest.fixture(params=["plain", "tls"])
async def served(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 0.5)
    options = {} if request.param == "plain" else tls_options(tmp_path)
    async with serving(**options) as served, asyncio.timeout(30):
        yield served


def tls_options(folder: Path) -> dict[str, str]:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    paths = {name: str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")}
    authority.cert_pem.write_to_path(paths["ca.pem"])
    own.cert_chain_pems[0].write_to_path(paths["cert.pem"])
    own.private_key_pem.write_to_path(paths["key.pem"])
    return {"ssl_certfile": paths["cert.pem"], "ssl_keyfile": paths["key.pem"], "ssl_ca_certs": paths["ca.pem"]}


@pytest.mark.parametrize(
    "endless",
    [
        HEAD + b"X-A: " + b"a" * MEGABYTE,
        HEAD + b"X-A: a\r\n" * 20_000,
        HEAD + b"a" * MEGABYTE,
        b"GET /" + b"a" * MEGABYTE,
        b"GET /?" + b"a=b&" * 30_000 + b" HTTP/1.1\r\n\r\n",
        HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(101)) + b"\r\n",
        HEAD + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
    ids=["one value", "many", "one name", "url", "query", "101 lines", "70 kB"],
)
async def test_too_large_a_head_is_refused_and_says_so(served: Served, endless: bytes) -> None:
    caller = await served.call()
    with contextlib.suppress(ConnectionError):  # the answer comes before all is sent
        await caller.send(endless)
    status, problem = await caller.answer()
    assert (status, problem and problem["code"]) == (431, "head_too_large")
    assert await caller.is_closed()
    await served.until(0)


async def test_endless_trailers_are_refused(served: Served) -> None:
    for trailer in (b"X-A: " + b"a" * 400_000, b"X-A: a\r\n" * 200):
        caller = await served.call(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with contextlib.suppress(ConnectionError):
            await caller.send(trailer)
        assert await caller.is_closed()
    await served.until(0)


async def test_a_body_in_tiny_chunks_is_no_large_head(served: Served) -> None:
    chunks = b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    caller = await served.call(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await caller.send(chunks)

    assert (await caller.answer())[0] == 200


async def test_usual_large_heads_are_taken(served: Served) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 600) for number in range(90))
    caller = await served.call(HEAD + lines + b"\r\n")

    assert (await caller.answer())[0] == 200


def dripping(data: bytes) -> Callable[[Caller], Any]:
    async def drip(caller: Caller) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                for byte in data:
                    await caller.send(bytes([byte]))
                    await asyncio.sleep(0.05)

    return drip


@pytest.mark.parametrize("data", [HEAD * 100, b"\r\n", b"GET /" + b"a" * 1000], ids=["lines", "line ends", "url"])
@pytest.mark.parametrize("before", [b"", WHOLE], ids=["first", "second"])
async def test_a_head_byte_by_byte_has_no_more_time(
    served: Served, monkeypatch: pytest.MonkeyPatch, data: bytes, before: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    caller = await served.call(before)
    if before:
        assert (await caller.answer())[0] == 200
    sending = asyncio.create_task(dripping(data)(caller))
    status, problem = await caller.answer()
    sending.cancel()

    assert (status, problem and problem["code"]) == (408, "head_too_slow")
    await served.until(0)


async def test_a_connection_that_says_nothing_is_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
    callers = [await served.call() for _ in range(20)]

    assert all([await caller.is_closed() for caller in callers])
    await served.until(0)


async def test_a_connection_that_is_idle_after_a_request_is_closed(tmp_path: Path) -> None:
    async with serving(timeout_keep_alive=1, **tls_options(tmp_path)) as served, asyncio.timeout(20):
        caller = await served.call(WHOLE)
        assert (await caller.answer())[0] == 200
        assert await caller.is_closed()


async def test_the_rest_of_a_body_that_was_answered_is_not_taken_for_long(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REST_SECONDS", 0.5)
    monkeypatch.setattr(connection, "CLOSE_SECONDS", 60.0)
    for framing in (b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"):
        caller = await served.call(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n1\r\n")
        assert (await caller.answer())[0] == 200
        sending = asyncio.create_task(dripping(b"1\r\na\r\n")(caller))
        assert await caller.is_closed()
        sending.cancel()
    await served.until(0)


async def test_a_connection_whose_body_came_after_its_answer_goes_on(served: Served) -> None:
    caller = await served.call(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
    assert (await caller.answer())[0] == 200
    await caller.send(b"a" * 200_000 + WHOLE)

    assert (await caller.answer())[0] == 200


async def test_an_answer_that_nobody_reads_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
    caller = await served.call(HEAD.replace(b"/health/live", b"/large") + b"\r\n")
    await served.until(1)
    await served.until(0)
    caller.writer.close()


async def test_requests_before_the_answer_are_few(served: Served) -> None:
    caller = await served.call(HEAD.replace(b"/health/live", b"/slow") + b"\r\n" + WHOLE * 5000)

    assert await caller.is_closed()
    await served.until(0)


async def test_some_requests_before_the_answer_are_answered_in_order(served: Served) -> None:
    caller = await served.call(WHOLE * 10)

    assert [(await caller.answer())[0] for _ in range(10)] == [200] * 10


async def test_one_too_many_takes_the_place_of_the_one_that_waits_longest(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 5)
    used = await served.call(WHOLE)
    assert (await used.answer())[0] == 200
    waiting = [await served.call(HEAD) for _ in range(4)]
    await served.until(5)
    more = await served.call(WHOLE)

    assert (await more.answer())[0] == 200
    assert await waiting[0].is_closed()
    await used.send(WHOLE)
    assert (await used.answer())[0] == 200


async def test_busy_connections_keep_their_places(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    busy = [await served.call(HEAD.replace(b"/health/live", b"/slow") + b"\r\n") for _ in range(3)]
    async with asyncio.timeout(10):
        while len(served.server.server_state.tasks) < 3:
            await asyncio.sleep(0.01)
    more = await served.call()
    assert await _refused(more)
    served.server.lifespan.state["gate"].set()

    assert [(await caller.answer())[0] for caller in busy] == [200] * 3


async def _refused(caller: Caller) -> bool:
    try:
        return (await caller.answer())[0] == 503
    except (ConnectionError, asyncio.IncompleteReadError):
        return True


async def test_hundreds_of_slow_callers_are_all_served(served: Served) -> None:
    callers = [await served.call(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n") for _ in range(300)]
    for _ in range(10):
        await asyncio.gather(*(caller.send(b"a") for caller in callers))
        await asyncio.sleep(0.02)

    assert {(await caller.answer())[0] for caller in callers} == {200}


@asynccontextmanager
async def real(configured: dict[str, str], folder: Path, **more: str) -> AsyncIterator[tuple[Running, int]]:
    """`aigen-bridge serve` as it is started by people."""
    arguments = ("serve", "--port", "0")
    async with started(*arguments, environment=configured | more, cwd=folder, ready="running on") as api:
        yield api, int(api.said.split("127.0.0.1:")[-1].split()[0].rstrip('",'))


def megabytes(process_id: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process_id}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def test_endless_headers_take_no_memory_of_serve(configured: dict[str, str], tmp_path: Path) -> None:
    async with real(configured, tmp_path) as (api, port), asyncio.timeout(60):
        before = megabytes(api.process.pid)
        for line in (b"a" * 65536, b"X-A: a\r\n" * 8192):
            caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
            with contextlib.suppress(ConnectionError):
                await caller.send(HEAD)
                for _ in range(200 * MEGABYTE // 65536):
                    await caller.send(line)
            caller.writer.close()
        assert megabytes(api.process.pid) - before < 20


async def test_handshakes_that_do_not_go_on_end_in_serve(configured: dict[str, str], tmp_path: Path) -> None:
    paths = tls_options(tmp_path)
    tls = {"AIGEN_TLS__CERTIFICATE": paths["ssl_certfile"], "AIGEN_TLS__KEY": paths["ssl_keyfile"]}
    async with real(configured, tmp_path, **tls) as (_, port), asyncio.timeout(30):
        callers = [Caller(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(50)]
        await callers[0].send(b"\x16\x03\x01")
        assert all([await caller.is_closed() for caller in callers])


async def test_a_scrape_ends_however_slowly_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port, "SCRAPE_SECONDS", 0.5)
    with metrics_port.metrics_port("127.0.0.1", 0, metrics_port.PortRules(patience=timedelta(seconds=9))) as url:
        port = int(url.split(":")[-1].split("/")[0])
        async with asyncio.timeout(20):
            slow = [
                Caller(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(metrics_port.SCRAPES_MAX + 4)
            ]
            sending = [asyncio.create_task(dripping(b"GET /metrics")(caller)) for caller in slow]
            assert all([await caller.is_closed() for caller in slow])
            for task in sending:
                task.cancel()
            caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
            await caller.send(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"200 OK" in await caller.reader.readline()


async def test_a_probe_is_answered_however_many_callers_hold_the_port_of_a_worker() -> None:
    """Otherwise Kubernetes would restart the worker."""
    with metrics_port.metrics_port("127.0.0.1", 0, metrics_port.PortRules(patience=timedelta(seconds=9))) as url:
        port = int(url.split(":")[-1].split("/")[0])
        async with asyncio.timeout(metrics_port.SCRAPE_SECONDS / 2):
            silent = [
                Caller(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(metrics_port.SCRAPES_MAX)
            ]
            probe = Caller(*await asyncio.open_connection("127.0.0.1", port))
            await probe.send(b"GET /health/live HTTP/1.0\r\n\r\n")
            assert await probe.reader.readline()
            assert await silent[0].is_closed()


async def test_a_slow_scrape_is_not_ended_by_those_that_ended_since() -> None:
    with metrics_port.metrics_port("127.0.0.1", 0, metrics_port.PortRules(patience=timedelta(seconds=9))) as url:
        port = int(url.split(":")[-1].split("/")[0])
        async with asyncio.timeout(metrics_port.SCRAPE_SECONDS - 1):
            slow = Caller(*await asyncio.open_connection("127.0.0.1", port))
            await slow.send(b"GET /health/live ")
            for _ in range(metrics_port.SCRAPES_MAX + 1):
                quick = Caller(*await asyncio.open_connection("127.0.0.1", port))
                await quick.send(b"GET /health/live HTTP/1.0\r\n\r\n")
                assert await quick.reader.read()
            await slow.send(b"HTTP/1.0\r\n\r\n")
            assert await slow.reader.readline()
