"""Data past its retention is deleted; requests with pending work are kept, however old they are."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from aged import OLD, YOUNG, Aged, every_kind, write
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store import retention as store
from aigen_bridge.store.database import Database
from aigen_bridge.store.retention import Retention
from aigen_bridge.worker.purge import periods, purge

DEFAULTS = RetentionSettings()
YEAR = timedelta(days=365)
EVERYTHING = (
    "SELECT * FROM requests ORDER BY request_id",
    "SELECT * FROM request_changes ORDER BY request_id",
    "SELECT * FROM images ORDER BY request_id",
    "SELECT * FROM outbox ORDER BY id",
    "SELECT * FROM attempts ORDER BY id",
    "SELECT * FROM quarantine ORDER BY id",
    "SELECT * FROM operations ORDER BY id",
)
GENERATED = (
    "INSERT INTO generations (request_id) SELECT request_id",
    "INSERT INTO generation_changes (request_id, state, note) SELECT request_id, 'none', ''",
    (
        "INSERT INTO provider_jobs (request_id, provider, job_id, execution_id, is_other)"
        " SELECT request_id, 'fal', 'job-1', '7', false"
    ),
)
Read = Callable[[str], Awaitable[list[Any]]]


@pytest.fixture
def retention(database: Database) -> Retention:
    return Retention(database, has_objects=False)


@pytest.fixture
def read(database: Database) -> Read:
    async def rows(statement: str) -> list[Any]:
        async with database.reading() as connection:
            return list((await connection.execute(text(statement))).all())

    return rows


async def purged(retention: Retention, settings: RetentionSettings = DEFAULTS) -> dict[RetentionClass, int]:
    return await purge(retention, settings, asyncio.Event())


async def having(read: Read, table: str) -> set[UUID]:
    return {row.request_id for row in await read(f"SELECT request_id FROM {table}")}  # noqa: S608 - a name of ours


async def test_of_every_kind_of_request_exactly_those_without_pending_work_are_deleted(
    database: Database, retention: Retention, read: Read
) -> None:
    kinds = await write(database, every_kind())
    may_go = {i for i, kind in kinds.items() if kind.may_go}
    async with database.transaction() as connection:
        for each in GENERATED:
            await connection.execute(text(f"{each} FROM requests"))
    await purged(retention)

    assert 0 < len(may_go) < len(kinds) / 4
    assert {kinds[i] for i in await having(read, "requests")} == {k for k in kinds.values() if not k.may_go}
    assert await having(read, "images") == {i for i, kind in kinds.items() if kind.has_image and not kind.may_go}
    assert await having(read, "attempts") == {i for i, kind in kinds.items() if kind.entries and not kind.may_go}
    for table in ("request_changes", "generations", "provider_jobs", "generation_changes"):
        assert await having(read, table) == kinds.keys() - may_go
    assert len(await read("SELECT 1 FROM quarantine WHERE state = 'open'")) == len(kinds) / 3


@pytest.mark.parametrize("kept", [RetentionClass.IMAGES, RetentionClass.ATTEMPTS])
async def test_bytes_and_attempts_go_before_the_request_and_it_says_so(
    database: Database, retention: Retention, read: Read, kept: RetentionClass
) -> None:
    kinds = await write(database, every_kind())
    before = await having(read, kept)
    may_go = {i for i, kind in kinds.items() if kind.may_go}
    await purged(retention, only(kept))
    column = {RetentionClass.IMAGES: "image_purged_at", RetentionClass.ATTEMPTS: "attempts_purged_at"}[kept]
    marked = {r.request_id for r in await read(f"SELECT * FROM requests WHERE {column} IS NOT NULL")}  # noqa: S608 - a name of ours

    assert await having(read, "requests") == kinds.keys()
    assert await having(read, kept) == before - may_go
    assert marked & before == before & may_go
    assert marked <= may_go


async def test_a_callback_goes_some_time_after_a_person_handled_it(
    database: Database, retention: Retention, read: Read
) -> None:
    await write(database, [Aged(callback=state, days=days) for state in ("open", "discarded") for days in (OLD, YOUNG)])
    removed = await purged(retention, only(RetentionClass.QUARANTINE))

    assert removed[RetentionClass.QUARANTINE] == 1
    assert sorted(row.state for row in await read("SELECT state FROM quarantine")) == ["discarded", "open", "open"]


async def test_a_late_image_of_a_cancelled_request_is_kept_from_when_it_came(
    database: Database, retention: Retention, read: Read
) -> None:
    [late] = await write(database, [Aged(status="cancelled")])
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE requests SET updated_at = now()"))
    await purged(retention, only(RetentionClass.IMAGES))

    assert await having(read, "images") == {late}


async def test_attempts_made_after_a_purge_go_with_a_later_one(
    database: Database, retention: Retention, read: Read
) -> None:
    [late] = await write(database, [Aged(status="failed")])
    await purged(retention, only(RetentionClass.ATTEMPTS))
    async with database.transaction() as connection:  # a late result has completed it since
        await connection.execute(
            text("""UPDATE requests SET status = 'completed', failed_by = NULL, image = '{}',
                attempts_purged_at = now() - interval '300 days', delivered_at = now() - interval '200 days'""")
        )
        await connection.execute(
            text("INSERT INTO attempts (entry_id, request_id, step, number, outcome) "
                 "SELECT id, request_id, step, 1, 'done' FROM outbox LIMIT 1")
        )  # fmt: skip
    assert await having(read, "attempts") == {late}

    assert (await purged(retention, only(RetentionClass.ATTEMPTS)))[RetentionClass.ATTEMPTS] == 1


async def test_what_is_kept_for_ever_stays(database: Database, retention: Retention, read: Read) -> None:
    await write(database, [Aged(callback="discarded")] * 3)
    forever = RetentionSettings.model_validate(dict.fromkeys(RetentionClass, "forever"))

    assert set((await purged(retention, forever)).values()) == {0}
    assert len(await read("SELECT 1 FROM images")) == 3


async def test_counting_changes_nothing_and_says_what_a_purge_would_do(
    database: Database, retention: Retention, read: Read
) -> None:
    await write(database, every_kind())
    before = [await read(statement) for statement in EVERYTHING]
    counted = {kept: await retention.count(kept, age) for kept, age in periods(DEFAULTS) if age}
    after = [await read(statement) for statement in EVERYTHING]

    assert before == after
    assert all(number for kept, number in counted.items() if kept is not RetentionClass.INCIDENTS)
    assert counted | {RetentionClass.LEDGER: 0} == await purged(retention)


async def test_incidents_go_when_they_are_long_over_and_everybody_was_told(
    database: Database, retention: Retention, read: Read
) -> None:
    states = {"done": "done", "telling": "pending", "nobody_heard": "dead"}
    async with database.transaction() as connection:
        for cause, state in {**states, "lasting": "done"}.items():
            incident = "INSERT INTO incidents (cause, times, recovered_at) VALUES (:cause, 1, :over) RETURNING id"
            over = None if cause == "lasting" else datetime.now(UTC) - timedelta(days=91)
            row = {"id": await connection.scalar(text(incident), {"cause": cause, "over": over})}
            entry = """INSERT INTO outbox (incident_id, step, state, finished_at)
                VALUES (:id, 'alert', :state, CASE WHEN :state <> 'pending' THEN now() END)"""
            await connection.execute(text(entry), row | {"state": state})
            await connection.execute(text("INSERT INTO occurrences (incident_id, detail) VALUES (:id, '')"), row)

    assert (await purged(retention))[RetentionClass.INCIDENTS] == 1
    left = {row.cause for row in await read("SELECT cause FROM incidents")}
    assert left == {"telling", "nobody_heard", "lasting"}
    assert len(await read("SELECT 1 FROM occurrences")) == 3


async def test_a_batch_is_small_and_says_that_there_is_more(
    database: Database, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH", dict.fromkeys(RetentionClass, 2))
    await write(database, [Aged()] * 5)
    batches = [await retention.purge(RetentionClass.REQUESTS, YEAR) for _ in range(4)]

    assert [(batch.deleted, batch.more) for batch in batches] == [(2, True), (2, True), (1, False), (0, False)]


async def test_pending_work_does_not_keep_other_requests_from_being_deleted(
    database: Database, retention: Retention, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BATCH", dict.fromkeys(RetentionClass, 2))
    kinds = await write(database, [Aged(days=OLD, entries=("dead",))] * 5 + [Aged(days=OLD)])
    await purged(retention)

    assert await having(read, "requests") == {i for i, kind in kinds.items() if not kind.may_go}


async def test_who_purged_is_recorded(retention: Retention, read: Read) -> None:
    await retention.record(OperatorAction("cli:somebody", "requests 365 days"))

    [row] = await read("SELECT client, action, target, note FROM operations")
    assert tuple(row) == ("cli:somebody", "purge", "retention", "requests 365 days")


def only(*kinds: Collection[RetentionClass]) -> RetentionSettings:
    """The usual ages for these, the rest for ever."""
    return RetentionSettings.model_validate({kept: "forever" for kept in RetentionClass if kept not in kinds})
