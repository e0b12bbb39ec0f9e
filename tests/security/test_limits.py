"""Limits on what comes in, on raw sockets: sizes, lies, slowness, swarms, and how often."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from aigen_bridge.asgi import create_app
from aigen_bridge.settings import WrongSettingsError
from callbacks import failed, report
from raw_http import raw
from stage import CALLBACK, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api

SMALL = {"callback": {"max_bytes": 10_000, "read_timeout": "0.5s", "rate_limit": "100000/second"}}
HEADERS = f"X-API-Key: {KEYS['n8n']}\r\nContent-Type: application/json\r\n"


def head(*extra: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in extra)
    return f"POST {CALLBACK} HTTP/1.1\r\nHost: bridge\r\n{HEADERS}{lines}\r\n".encode()


async def test_an_announced_length_over_the_limit_is_refused_before_a_byte_of_it_comes(database_url: str) -> None:
    async with serve_api(make_settings(database_url, **SMALL)) as api:
        answer = await raw(str(api.base_url), head("Content-Length: 100000000000"))

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in answer


async def test_a_chunked_body_is_refused_as_soon_as_it_is_over_the_limit(database_url: str) -> None:
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    async with serve_api(make_settings(database_url, **SMALL)) as api:
        answer = await raw(str(api.base_url), head("Transfer-Encoding: chunked"), chunk, chunk)

    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_sender_that_is_too_slow_is_told_so(database_url: str) -> None:
    async with serve_api(make_settings(database_url, **SMALL)) as api:
        started = time.monotonic()
        answer = await raw(str(api.base_url), head("Content-Length: 100"), b"{")

    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: ten",
        "Content-Length: -1",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ],
)
async def test_a_lying_or_odd_length_is_refused(database_url: str, framing: str) -> None:
    async with serve_api(make_settings(database_url, **SMALL)) as api:
        answer = await raw(str(api.base_url), head(framing), b"hello")
        alive = await api.get("/health/live")

    assert answer.startswith(b"HTTP/1.1 4")
    assert alive.status_code == 200


async def test_no_body_is_read_for_a_caller_without_a_key(database_url: str) -> None:
    anonymous = head("Content-Length: 1000000").replace(KEYS["n8n"].encode(), b"wrong")
    async with serve_api(make_settings(database_url)) as api:
        answer = await raw(str(api.base_url), anonymous)

    assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "swarm", ["[" + "1," * 2_000_000 + "1]", "[" * 1_000_000 + "]" * 1_000_000, '{"a":[{},' * 500_000]
)
async def test_millions_of_values_are_refused_without_parsing_them(idle_stage: Stage, swarm: str) -> None:
    body = f'{{"status": "failed", "x": {swarm}}}'.encode()
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    started = time.process_time()
    answer = await idle_stage.api.post(CALLBACK, content=body, headers=headers)

    assert answer.status_code in {400, 422}
    assert time.process_time() - started < 1  # parsing them took 3.4 s


async def test_health_answers_while_many_large_callbacks_come_in(idle_stage: Stage) -> None:
    body = json.dumps({"status": "completed", "imageData": "A" * 10_000_000}).encode()
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    begun, rest = asyncio.Semaphore(0), asyncio.Event()

    async def in_two_parts() -> AsyncIterator[bytes]:
        yield body[:5_000_000]
        begun.release()
        await rest.wait()
        yield body[5_000_000:]

    async def health_answers() -> None:
        async with asyncio.timeout(4):  # as long as Docker's check of the container waits
            assert (await idle_stage.api.get("/health/live")).status_code == 200

    def send() -> Awaitable[httpx.Response]:
        return idle_stage.api.post(CALLBACK, content=in_two_parts(), headers=headers)

    sending = [asyncio.ensure_future(send()) for _ in range(8)]
    async with asyncio.timeout(30):
        for _ in sending:
            await begun.acquire()
    await health_answers()
    assert not any(task.done() for task in sending)
    rest.set()
    while not all(task.done() for task in sending):
        await health_answers()

    assert {task.result().status_code for task in sending} == {422}


async def test_one_call_too_many_is_a_429_that_says_when_to_come_back(database_url: str) -> None:
    few = {"requests": {"rate_limit": "3/minute"}, "callback": {"rate_limit": "2/minute"}}
    async with serve_api(make_settings(database_url, **few)) as api:
        asked = [await api.post(REQUESTS, json=make_event(), headers=_key("odoo")) for _ in range(4)]
        reported = [await api.post(CALLBACK, json={}, headers=_key("n8n")) for _ in range(3)]
        of_another_client = await api.get(REQUESTS, headers=_key("ops"))

    assert [a.status_code for a in asked] == [202, 202, 202, 429]
    assert [a.status_code for a in reported] == [422, 422, 429]
    assert 1 <= int(asked[-1].headers["retry-after"]) <= 60
    assert asked[-1].json()["detail"] == "Rate limit exceeded for client 'odoo': 3 per minute."
    assert of_another_client.status_code == 200


async def test_a_client_that_reads_too_often_may_still_ask(database_url: str) -> None:
    async with serve_api(make_settings(database_url, requests={"rate_limit": "2/minute"})) as api:
        read = [await api.get(REQUESTS, headers=_key("odoo")) for _ in range(3)]
        asked = await api.post(REQUESTS, json=make_event(), headers=_key("odoo"))

    assert [answer.status_code for answer in (*read, asked)] == [200, 200, 429, 202]


async def test_a_storage_for_limits_that_is_away_does_not_stop_the_service(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> bool:
        raise ConnectionError("nobody is there")

    monkeypatch.setattr("limits.aio.strategies.SlidingWindowCounterRateLimiter.hit", away)
    async with serve_api(make_settings(database_url)) as api:
        assert (await api.get(REQUESTS, headers=_key("ops"))).status_code == 200


def test_a_storage_that_cannot_be_used_stops_the_start_with_its_name(database_url: str) -> None:
    for storage in ("nonsense", "memcached://127.0.0.1:9"):
        settings = make_settings(database_url, rate_limit={"storage": storage})
        with pytest.raises(WrongSettingsError, match="AIGEN_RATE_LIMIT__STORAGE is wrong"):
            create_app(settings)


async def test_a_flood_of_mistakes_gets_a_short_answer(idle_stage: Stage) -> None:
    event = make_event() | {f"unknown{n}": n for n in range(5_000)}
    answer = await idle_stage.api.post(REQUESTS, json=event, headers=_key("odoo"))

    assert answer.status_code == 422
    assert len(answer.content) < 20_000


async def test_a_caller_that_hangs_up_is_no_bug(idle_stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(str(idle_stage.api.base_url))
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head("Content-Length: 1000") + b"half")
    await writer.drain()
    writer.transport.abort()
    asked = await idle_stage.ask()

    assert (await report(idle_stage, failed(asked))).status_code == 202
    assert "api.bug" not in caplog.text


def _key(name: str) -> dict[str, Any]:
    return {"X-API-Key": KEYS[name]}
