"""The JSON-2 transport over real sockets: faults, the key's pause, the deadline, connections, and what it records."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_errors import BUG_TRIES
from aigen_bridge.clients.odoo_exchange import ANSWER_MAX
from aigen_bridge.clients.odoo_json2 import OdooJson2
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from raw_server import BOMB, JSON, answering, http

KEY = "key-of-the-bot-user"
LIMITS: tuple[str, str, dict[str, Any]] = ("aigen.image.request", "bridge_limits", {})
FAULT = {"name": "builtins.RuntimeError", "message": "boom", "arguments": ["boom"], "context": {}, "debug": "Traceback"}


@pytest.fixture
def odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=KEY, series="19.0"))


@pytest.fixture
async def url(odoo: OdooSimulator) -> AsyncIterator[str]:
    async with serving(odoo.app) as url:
        yield url


def opened(
    url: str, *, timeout: float = 10, key: str = KEY, concurrency: int = 2, database: str = "odoo"
) -> aclosing[OdooJson2]:
    return aclosing(OdooJson2(url, database=database, api_key=key, timeout=timeout, concurrency=concurrency))


async def failed(*answers: bytes) -> StepError:
    async with answering(*answers) as (url, _), opened(url) as transport:
        with pytest.raises(StepError) as caught:
            await transport.call(*LIMITS)
    return caught.value


def fault(status: str, **changes: Any) -> bytes:
    return http(status, json.dumps(FAULT | changes).encode(), JSON)


async def test_a_call_names_the_database_and_the_key_and_needs_no_login(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        assert (await transport.call(*LIMITS))["imageBytes"] == 32 * 2**20
        await transport.login()

    first, second = odoo.calls.to("json2")
    assert (first.headers["x-odoo-database"], first.fields["model_method"]) == ("odoo", "bridge_limits")
    assert (second.fields["model"], second.fields["model_method"]) == ("res.users", "context_get")


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("odoo.exceptions.AccessError", 403, (PermanentError, None, False)),
        ("odoo.exceptions.MissingError", 404, (PermanentError, None, False)),
        ("odoo.exceptions.ValidationError", 422, (PermanentError, None, False)),
        ("builtins.ValueError", 500, (PermanentError, None, False)),
        ("odoo.exceptions.LockError", 409, (TransientError, None, False)),
        ("odoo.http.SessionExpiredException", 403, (TransientError, None, False)),
        ("psycopg2.errors.SerializationFailure", 500, (TransientError, None, False)),
        ("psycopg2.OperationalError", 500, (TransientError, None, True)),
        ("builtins.RuntimeError", 500, (TransientError, BUG_TRIES, False)),
    ],
)
async def test_a_fault_is_the_same_error_as_over_jsonrpc_with_its_status(
    odoo: OdooSimulator, url: str, name: str, status: int, expected: tuple[type[StepError], int | None, bool]
) -> None:
    odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail="no"))
    async with opened(url) as transport:
        with pytest.raises(StepError) as caught:
            await transport.call(*LIMITS)

    error = caught.value
    assert error.code == "odoo_" + name.rpartition(".")[2].lower()
    assert (error.http_status, "Traceback" in error.detail) == (status, False)
    assert (type(error), getattr(error, "tries", None), getattr(error, "away", False)) == expected


@pytest.mark.parametrize(
    ("answer", "code", "away"),
    [
        (http("404 Not Found", b"<h1>Not Found</h1>"), "odoo_http_404", True),
        (http("404 Not Found", b'{"detail": "Not Found"}', JSON), "odoo_http_404", True),
        (http("404 Not Found", b"no gzip", "Content-Encoding: gzip\r\n"), "odoo_http_404", True),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\ntruncated", "odoo_http_404", True),
        (http("404 Not Found", b"<p>No database is selected and ...</p>"), "odoo_operationalerror", True),
        (fault("404 Not Found", name="werkzeug.exceptions.NotFound", message="Did you mean"), "odoo_notfound", False),
        (http("303 See Other", headers="Location: /web/login?redirect=%2Fjson%2F2\r\n"), "odoo_http_303", True),
        (http("405 Not Allowed"), "odoo_http_405", True),
        (http("502 Bad Gateway", b"<h1>502</h1>"), "odoo_http_502", True),
        (http("503 Service Unavailable", b'{"name": "x"}', JSON), "odoo_http_503", True),
        (http("500 Internal Server Error", b"<h1>500</h1>"), "odoo_http_500", False),
        (http("429 Too Many Requests"), "odoo_http_429", False),
        (http("200 OK", b"<h1>Back soon</h1>", "Content-Type: text/html\r\n"), "odoo_answer_unreadable", True),
        (http("200 OK"), "odoo_answer_unreadable", True),
        (http("200 OK", BOMB, f"{JSON}Content-Encoding: gzip\r\n"), "odoo_answer_unreadable", True),
        (http("200 OK", b" " * ANSWER_MAX + b"{}", JSON), "odoo_answer_unreadable", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{}", "odoo_unreachable", True),
        (b"", "odoo_unreachable", True),
    ],
)
async def test_an_answer_of_another_program_may_pass(answer: bytes, code: str, *, away: bool) -> None:
    error = await failed(answer)

    assert isinstance(error, TransientError)
    assert (error.code, error.away, len(error.detail) < 700) == (code, away, True)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (http("301 Moved", headers="Location: https://www.odoo.test/x?token=secret\r\n"), "odoo_http_301"),
        (http("401 Unauthorized", b"<h1>Who are you?</h1>"), "odoo_http_401"),
        (http("403 Forbidden", b"<h1>No</h1>"), "odoo_http_403"),
        (http("413 Too Large", b"<h1>Too large</h1>"), "odoo_http_413"),
        (fault("400 Bad Request", name="werkzeug.exceptions.BadRequest"), "odoo_badrequest"),
    ],
)
async def test_an_answer_that_does_not_pass_is_permanent(answer: bytes, code: str) -> None:
    error = await failed(answer)

    assert isinstance(error, PermanentError)
    assert (error.code, "secret" in error.detail) == (code, False)
    assert error.http_status == int(answer[9:12])


async def test_a_fault_whose_body_comes_late_is_still_read() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head, separator, body = fault("409 Conflict", name="odoo.exceptions.LockError").partition(b"\r\n\r\n")
        writer.write(head + separator)
        await asyncio.sleep(1.1)  # a packet was lost
        writer.write(body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as transport:
        with pytest.raises(TransientError, match="odoo_lockerror"):
            await transport.call(*LIMITS)


async def test_a_method_that_returns_nothing_returns_none() -> None:
    async with answering(http("200 OK", b"null", JSON)) as (url, _), opened(url) as transport:
        assert await transport.call(*LIMITS) is None


async def test_a_server_that_repeats_what_it_was_sent_does_not_get_the_key_into_the_error() -> None:
    echoes = [
        http("200 OK", f"You sent {KEY}".encode()),
        http("200 OK", json.dumps({"echo": KEY}).encode()),
        fault("500 Oops", message=f"args: {KEY}"),
        fault("500 Oops", name=f"x.{KEY}"),
        fault("500 Oops", message="-" * 490 + KEY),
    ]
    for echo in echoes:
        async with answering(echo) as (url, sent), opened(url) as transport:
            with pytest.raises(StepError) as caught:
                await OdooClient(transport).apply_result({})
        assert KEY.encode() in sent[0]
        assert KEY[:6] not in f"{caught.value} {caught.value.code}"


async def test_calls_with_a_wrong_key_are_refused_once_and_then_not_tried_for_a_while(
    odoo: OdooSimulator, url: str
) -> None:
    odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.2, times=3))
    async with opened(url, key="wrong-key-of-nobody", concurrency=3) as transport:
        errors = await asyncio.gather(*(transport.call(*LIMITS) for _ in range(3)), return_exceptions=True)
        with pytest.raises(TransientError, match="odoo_login_refused") as caught:
            await transport.call(*LIMITS)

    assert [(type(error), error.code) for error in errors] == [(PermanentError, "odoo_login_refused")] * 3  # type: ignore[union-attr]
    assert len(odoo.calls.to("json2")) == 3
    assert caught.value.retry_after is not None
    assert 60 < caught.value.retry_after.total_seconds() <= 65  # three refusals at once do not lengthen it


async def test_a_key_that_worked_before_is_tried_a_few_times(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        await transport.login()
        odoo.settings = replace(odoo.settings, api_key="revoked")
        with pytest.raises(TransientError, match="odoo_login_refused") as caught:
            await transport.call(*LIMITS)

    assert (caught.value.tries, caught.value.http_status) == (4, 401)


async def test_the_timeout_covers_the_wait_for_a_place_and_the_call(odoo: OdooSimulator, url: str) -> None:
    odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.4, times=None))
    async with opened(url, timeout=0.6, concurrency=1) as transport:
        results = await asyncio.gather(*(transport.call(*LIMITS) for _ in range(2)), return_exceptions=True)
        odoo.faults.clear()
        assert await transport.call(*LIMITS)

    late = results[1]
    assert isinstance(late, TransientError)
    assert (isinstance(results[0], dict), late.code, late.away) == (True, "odoo_timeout", False)


async def test_at_most_so_many_calls_are_made_at_once(odoo: OdooSimulator, url: str) -> None:
    odoo.settings = replace(odoo.settings, seconds=0.05)
    seen: list[int] = []
    run, under_way = odoo._call_json2, 0

    async def counted(*call: Any) -> Any:
        nonlocal under_way
        under_way += 1
        seen.append(under_way)
        try:
            return await run(*call)
        finally:
            under_way -= 1

    odoo._call_json2 = counted  # type: ignore[method-assign]
    async with opened(url, concurrency=2) as transport:
        await asyncio.gather(*(transport.call(*LIMITS) for _ in range(7)))

    assert (max(seen), len(seen)) == (2, 7)


async def test_a_connection_is_kept_open_where_the_server_allows_it_and_no_session_is_sent() -> None:
    body = http("200 OK", b"{}", f"{JSON}Set-Cookie: session_id=abc; Path=/\r\n")
    asked, connections = [], 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(2)
            writer.write(body)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as transport:
        assert [await transport.call(*LIMITS) for _ in range(2)] == [{}, {}]

    assert (connections, len(asked)) == (1, 2)
    assert b"cookie" not in asked[1].lower()


async def test_a_call_that_is_cancelled_at_any_moment_leaves_no_connection_behind() -> None:
    connections: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http("200 OK", b"{}", f"{JSON}Connection: close\r\n"))
            await reader.read()  # until the other side closes it, too
        connections.discard(writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as transport:
        for steps in range(100):
            call = asyncio.create_task(transport.call(*LIMITS))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(5):
            while connections:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(("database", "sent"), [("büro", b"b\xfcro"), ("北", b"?")])
async def test_the_name_of_the_database_is_sent_as_odoo_reads_it(database: str, sent: bytes) -> None:
    async with answering(http("200 OK", b"{}", JSON)) as (url, asked), opened(url, database=database) as transport:
        await transport.call(*LIMITS)

    assert b"x-odoo-database: " + sent + b"\r\n" in asked[0].replace(b"X-Odoo-Database", b"x-odoo-database")


async def test_each_call_is_one_line_in_the_log_and_the_version_none(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        with capture_logs() as lines:
            await transport.version()
            await transport.call(*LIMITS)
            odoo.faults.add(Fault(kind=FaultKind.STATUS, status=503))
            with pytest.raises(TransientError):
                await transport.call(*LIMITS)

    answered, refused = [line for line in lines if line["event"] == "odoo.answered"]
    assert (answered["status"], answered["path"]) == (200, "/json/2/aigen.image.request/bridge_limits")
    assert (refused["status"], refused["code"]) == (503, "odoo_http_503")
    assert min(answered["bytes_out"], answered["bytes_in"]) > 0
