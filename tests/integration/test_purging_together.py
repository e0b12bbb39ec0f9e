"""Purging beside others: other purgers, callbacks, people, and a worker's other work."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aged import Aged, write
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store import retention, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker import purge as purge_module
from aigen_bridge.worker.purge import purge
from stage import staged, working

DEFAULTS = RetentionSettings()
YEAR = timedelta(days=365)


async def left(database: Database, table: str = "requests") -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608 - a name of ours


async def test_two_purgers_at_once_remove_everything_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", dict.fromkeys(RetentionClass, 3))
    await write(database, [Aged(callback="discarded")] * 60)
    both = await asyncio.gather(*(purge(_retention(database), DEFAULTS, asyncio.Event()) for _ in range(2)))
    # A batch that finds all of its kind in the other's hands looks empty; whoever held them goes on.
    rest = await purge(_retention(database), DEFAULTS, asyncio.Event())

    assert {kept: both[0][kept] + both[1][kept] + rest[kept] for kept in RetentionClass} == {
        RetentionClass.IMAGES: 60,
        RetentionClass.QUARANTINE: 60,
        RetentionClass.ATTEMPTS: 120,
        RetentionClass.REQUESTS: 60,
        RetentionClass.LEDGER: 0,
        RetentionClass.INCIDENTS: 0,
    }
    assert await left(database) == 0


async def test_a_request_that_somebody_holds_is_passed_over(database: Database) -> None:
    held, *_ = await write(database, [Aged()] * 4)
    async with database.transaction() as connection:
        await transitions.lock(connection, [held])
        async with asyncio.timeout(10):
            batch = await _retention(database).purge(RetentionClass.REQUESTS, YEAR)

    assert (batch.deleted, await left(database)) == (3, 1)


async def test_a_request_that_comes_to_owe_something_between_looking_and_removing_stays(database: Database) -> None:
    """The first statement of a batch may see the past; the second does not believe it."""
    looked_at = list(await write(database, [Aged(), Aged()]))
    owing = {"id": looked_at[0]}
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO outbox (request_id, step) VALUES (:id, 'deliver')"), owing)
    async with database.transaction() as connection:
        found = {"period": YEAR.total_seconds(), "locked": looked_at}
        deleted = await connection.execute(retention._delete(RetentionClass.REQUESTS), found)

    assert (deleted.rowcount, await left(database)) == (1, 1)


async def test_one_worker_leaves_it_to_another_who_is_purging(database: Database) -> None:
    await write(database, [Aged()] * 2)
    async with database.transaction() as connection:
        assert await retention._acquired(connection)
        batch = await _retention(database).purge(RetentionClass.REQUESTS, YEAR, exclusive=True)

    assert (batch.deleted, batch.more) == (0, False)
    assert (await _retention(database).purge(RetentionClass.REQUESTS, YEAR, exclusive=True)).deleted == 2


async def test_a_purge_that_is_asked_to_stop_does_so_between_two_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", dict.fromkeys(RetentionClass, 1))
    await write(database, [Aged()] * 3)
    stop = asyncio.Event()

    class StoppedAfterOne(Retention):
        async def purge(
            self, retention_class: RetentionClass, period: timedelta, *, exclusive: bool = False
        ) -> retention.Batch:
            batch = await super().purge(retention_class, period, exclusive=exclusive)
            stop.set()
            return batch

    removed = await purge(StoppedAfterOne(database, has_objects=False), DEFAULTS, stop)

    assert {kept: number for kept, number in removed.items() if number} == {RetentionClass.IMAGES: 1}


async def test_a_worker_purges_by_itself_and_carries_requests_meanwhile(database_url: str, database: Database) -> None:
    kinds = await write(database, [Aged(), Aged(entries=("dead",))])
    async with staged(database_url, retention={"every": "1s"}) as stage, working(stage.settings):
        asked = await stage.ask()
        delivered = await stage.until_delivered(asked["requestId"])
        async with asyncio.timeout(20):
            while await left(database) > 2:
                await asyncio.sleep(0.05)
        kept = [str(i) for i, kind in kinds.items() if not kind.may_go]
        assert [(await stage.read(i))["requestId"] for i in (*kept, asked["requestId"])]

    assert delivered["status"] == "completed"


async def test_trouble_with_purging_ends_neither_the_loop_nor_the_worker(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, troubles = asyncio.Event(), [StoreUnavailableError("away"), ValueError("a bug")]

    async def troubled(*_: object, **__: object) -> None:
        if troubles:
            raise troubles.pop()
        stop.set()

    monkeypatch.setattr(purge_module, "purge", troubled)
    often = RetentionSettings.model_validate({"every": "10ms"})
    async with asyncio.timeout(10):
        await purge_module.purge_regularly(_retention(database), often, stop)

    assert troubles == []


async def test_a_request_that_is_accepted_again_while_it_is_purged_is_asked_for_once_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = Requests(database, Deadlines(YEAR, YEAR), PostgresImages(database))
    new = NewRequest(uuid4(), uuid4(), {"prompt": "x"})
    await requests.accept_all([new])
    find = requests._known

    async def vanished(wanted: list[NewRequest]) -> dict[UUID, object]:
        async with database.transaction() as connection:
            await connection.execute(text("DELETE FROM requests"))
        return await find(wanted)

    monkeypatch.setattr(requests, "_known", vanished)
    with pytest.raises(StoreUnavailableError, match="was purged"):
        await requests.accept_all([new])
    monkeypatch.undo()

    assert [created for _, created in await requests.accept_all([new])] == [True]


def _retention(database: Database) -> Retention:
    return Retention(database, has_objects=False)
