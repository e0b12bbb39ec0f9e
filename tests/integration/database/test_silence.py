"""The link to PostgreSQL falls silent: nothing hangs for longer than the timeout, and all goes on when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import text

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.batching import Batcher
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import check
from aigen_bridge.store.wakeup import CHANNEL, EVERYTHING, listen
from outages import rows
from poolers import dropping_options
from silent_link import SilentLink, silent_link
from stage import REQUESTS, Stage, make_event, sqlalchemy_url, staged, working

SHORT = timedelta(seconds=2)


@pytest.fixture
async def link(database_url: str) -> AsyncIterator[SilentLink]:
    async with silent_link(database_url) as link:
        yield link


@pytest.fixture
async def linked(link: SilentLink) -> AsyncIterator[Database]:
    """The store over the link, with a short timeout."""
    database = Database(open_engine(sqlalchemy_url(link.url), pool_size=4, name="test", timeout=SHORT), SHORT)
    yield database
    await database.close()


async def took(action: Any) -> float:
    """The seconds after which it said that the database is away."""
    began = time.monotonic()
    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailableError):
            await action
    return time.monotonic() - began


async def test_a_statement_a_transaction_and_a_commit_end_when_nothing_passes(
    link: SilentLink, linked: Database
) -> None:
    async def read() -> None:
        async with linked.reading() as connection:
            await connection.scalar(text("SELECT 1"))

    async def write(*, silent_before_commit: bool) -> None:
        async with linked.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            if silent_before_commit:
                link.fall_silent()

    await read()
    assert await took(write(silent_before_commit=True)) == pytest.approx(2, abs=1)
    assert await took(read()) < 3
    link.speak()
    await read()


async def test_one_silent_connection_is_enough_to_replace_all(link: SilentLink, linked: Database) -> None:
    async def read() -> None:
        async with linked.reading() as connection:
            await connection.scalar(text("SELECT pg_sleep(0.1)"))

    await asyncio.gather(*(read() for _ in range(4)))
    before = link.connections
    link.fall_silent()
    await took(read())
    link.speak()
    await asyncio.gather(*(read() for _ in range(4)))
    assert link.connections >= before + 4


async def test_a_caller_that_gives_up_during_the_silence_is_let_go(link: SilentLink, linked: Database) -> None:
    async def read() -> None:
        async with linked.reading() as connection:
            await connection.scalar(text("SELECT 1"))

    await read()
    link.fall_silent()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await read()
    assert time.monotonic() - began < 8  # psycopg asks the server to stop for 5 s; our deadline goes on


async def test_nobody_waits_for_the_groups_before_his_for_longer_than_the_patience() -> None:
    written: list[int] = []
    first = asyncio.Event()

    async def write(items: Any) -> list[int]:
        await first.wait()
        written.extend(items)
        return list(items)

    group = Batcher[int, int](write, limit=1, timeout=timedelta(seconds=0.2))
    waiting = [asyncio.create_task(group(item)) for item in (1, 2)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    first.set()
    assert await group(3) == 3
    assert [type(result) for result in results] == [StoreUnavailableError, StoreUnavailableError]
    assert written == [1, 3]  # the second was not on its way, and its caller will ask again


async def test_the_listener_notices_the_silence_and_listens_again(link: SilentLink, database: Database) -> None:
    woken: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(listen(link.url, woken.put_nowait, timedelta(seconds=1)))
    async with asyncio.timeout(30):
        assert await woken.get() == EVERYTHING
        link.fall_silent()
        while link.connections < 2:
            await asyncio.sleep(0.05)
        link.speak()
        assert await woken.get() == EVERYTHING
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_notify(:channel, 'deliver')"), {"channel": CHANNEL})
        while await woken.get() != "deliver":
            pass
    listening.cancel()


async def ask(stage: Stage, event: dict[str, Any]) -> tuple[int, float]:
    """The status of an accept, and how long it took."""
    began = time.monotonic()
    answer = await stage.api.post(REQUESTS, json=event, headers=stage.as_client("odoo"))
    if answer.status_code == 503:
        assert "Retry-After" in answer.headers
    return answer.status_code, time.monotonic() - began


async def until_accepted(stage: Stage, event: dict[str, Any]) -> None:
    """Asks as the addon does: again after a 503, which a transaction from before the silence may still cause."""
    while (answer := (await ask(stage, event))[0]) == 503:
        pass
    assert answer in {200, 202}


@pytest.mark.timeout(120)
async def test_accepts_are_answered_503_in_time_and_resume_and_nothing_is_lost_or_doubled(
    link: SilentLink, database: Database
) -> None:
    async with staged(link.url, database={"timeout": "2s"}) as stage:
        assert (await ask(stage, make_event()))[0] == 202
        events = [make_event() for _ in range(30)]
        going = [asyncio.create_task(ask(stage, event)) for event in events[:15]]
        await asyncio.sleep(0.005)  # some are on their way
        link.fall_silent()
        going += [asyncio.create_task(ask(stage, event)) for event in events[15:]]
        answers = await asyncio.gather(*going)
        ready = await stage.api.get("/health/ready")
        link.speak()
        async with asyncio.timeout(20):
            await asyncio.gather(*(until_accepted(stage, event) for event in events))

    assert {status for status, _ in answers} <= {202, 503}
    assert max(seconds for _, seconds in answers) < 4
    assert ready.status_code == 503
    assert await rows(database, "SELECT count(*) FROM requests") == [(31,)]
    assert await rows(database, "SELECT count(*) FROM outbox WHERE step = 'dispatch'") == [(31,)]


@pytest.mark.timeout(120)
async def test_a_worker_goes_on_after_the_silence(link: SilentLink, database: Database) -> None:
    async with staged(link.url, database={"timeout": "1s"}) as stage, working(stage.settings):
        await stage.until_delivered((await stage.ask())["requestId"])
        link.fall_silent()
        await asyncio.sleep(3)  # every lane, sweep and the listener met the silence
        link.speak()
        asked = await stage.ask()
        await stage.until_delivered(asked["requestId"])
    assert await rows(database, "SELECT count(*) FROM requests WHERE delivered_at IS NULL") == [(0,)]


async def test_readiness_and_metrics_answer_during_the_silence(link: SilentLink) -> None:
    async with staged(link.url, database={"timeout": "30s"}) as stage:
        assert (await stage.api.get("/health/ready")).status_code == 200
        link.fall_silent()
        await asyncio.sleep(2.1)  # what it knew is too old
        began = time.monotonic()
        answers = await asyncio.gather(*(stage.api.get("/health/ready") for _ in range(10)), stage.api.get("/metrics"))
        seconds = time.monotonic() - began
        link.speak()
    assert {answer.status_code for answer in answers[:10]} == {503}
    assert "aigen_database_up 0.0" in answers[10].text
    assert seconds < 7


async def test_a_silent_host_is_passed_over_for_one_that_answers(link: SilentLink, database_url: str) -> None:
    async with silent_link(database_url) as other:
        link.fall_silent()
        url = f"{link.url.rsplit(':', 1)[0]}:{link.port},127.0.0.1:{other.port}/{link.url.rsplit('/', 1)[1]}"
        async with staged(f"{url}?target_session_attrs=read-write") as stage:
            began = time.monotonic()
            assert (await ask(stage, make_event()))[0] == 202
            assert time.monotonic() - began < 9
            assert (await stage.api.get("/health/ready")).status_code == 200


HUNG = {"connect_timeout": "2", "target_session_attrs": "primary"}


async def test_a_host_that_accepts_and_answers_no_statement_is_passed_over(database_url: str) -> None:
    """Such as a pooler whose server is away. Every caller, and the commands, go on to the next host."""
    async with dropping_options(database_url, passes_statements=False) as hung, silent_link(database_url) as link:
        port = conninfo_to_dict(hung)["port"]
        url = make_conninfo(hung, host="127.0.0.1,127.0.0.1", port=f"{port},{link.port}", **HUNG)
        bridge = Database(open_engine(url, pool_size=2, name="test"))
        began = time.monotonic()
        read, _ = await asyncio.gather(rows(bridge, "SELECT 1"), asyncio.to_thread(check, url))
        assert (read, time.monotonic() - began < 4) == ([(1,)], True)
        await bridge.close()
