"""The primary vanishes without a word, and a standby is promoted: accepts resume, and nothing accepted is lost."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psycopg
import pytest

from aigen_bridge.store.migrations import migrate
from namespaces import PASSWORD, Pair, replicated
from stage import REQUESTS, Stage, make_event, sqlalchemy_url, staged, working

PROMOTED_AFTER = 5.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    with TemporaryDirectory(prefix="aigen-pair-") as folder:
        Path(folder).chmod(0o755)
        with replicated(Path(folder)) as pair:
            yield pair


class Asking:
    """Somebody who asks for an image every so often, each time with a new id, and asks again for what was refused."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.accepted: dict[str, float] = {}
        """When each was accepted."""
        self.refused: list[tuple[int, float]] = []
        """The status of each refusal, and how long it took."""
        self.ready: list[int] = []

    async def ask_all_the_time(self) -> None:
        """Until cancelled; several at once, as callers do not wait for each other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._until_accepted())
                tasks.create_task(self._look())
                await asyncio.sleep(0.5)

    async def _until_accepted(self) -> None:
        event = make_event()
        while True:
            began = time.monotonic()
            answer = await self._stage.api.post(REQUESTS, json=event, headers=self._stage.as_client("odoo"))
            if answer.status_code in {200, 202}:
                self.accepted[event["requestId"]] = time.monotonic()
                return
            self.refused.append((answer.status_code, time.monotonic() - began))
            await asyncio.sleep(1)

    async def _look(self) -> None:
        answer: httpx.Response = await self._stage.api.get("/health/ready")
        self.ready.append(answer.status_code)


@pytest.mark.timeout(240)
async def test_a_primary_vanishes_and_a_standby_is_promoted(
    pair: Pair, record_property: Callable[[str, object], None]
) -> None:
    await asyncio.to_thread(migrate, sqlalchemy_url(pair.url))
    async with staged(pair.url) as stage, working(stage.settings):
        asking = Asking(stage)
        going = asyncio.create_task(asking.ask_all_the_time())
        await _until(lambda: len(asking.accepted) >= 10)
        asking.ready.clear()
        await asyncio.to_thread(pair.vanish)
        vanished = time.monotonic()
        await asyncio.sleep(PROMOTED_AFTER)
        await asyncio.to_thread(pair.promote)
        await _until(lambda: any(at > vanished + 1 for at in asking.accepted.values()))
        gap = min(at for at in asking.accepted.values() if at > vanished + 1) - vanished
        await _until(lambda: bool(asking.ready) and asking.ready[-1] == 200)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await _until_delivered(stage, max(asking.accepted, key=lambda request_id: asking.accepted[request_id]))

    url = f"host={pair.standby.host} user=postgres password={PASSWORD}"
    with closing(psycopg.connect(url)) as connection:
        kept = {str(row[0]) for row in connection.execute("SELECT request_id FROM requests")}
    slowest = max(seconds for _, seconds in asking.refused)
    record_property(
        "gap", f"{gap:.1f} s without an accept, {len(asking.refused)} refused, the slowest after {slowest:.1f} s"
    )
    assert gap < 30
    assert {status for status, _ in asking.refused} == {503}
    assert slowest < 15
    assert 503 in asking.ready
    assert asking.accepted.keys() <= kept


async def _until_delivered(stage: Stage, request_id: str) -> None:
    """Waits until the result was delivered. Connections to the vanished primary may still be found dead."""
    async with asyncio.timeout(90):
        while True:
            answer = await stage.api.get(f"{REQUESTS}/{request_id}", headers=stage.as_client("ops"))
            if answer.status_code == 200 and answer.json()["deliveredAt"]:
                return
            assert answer.status_code in {200, 503}
            await asyncio.sleep(0.1)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.05)
