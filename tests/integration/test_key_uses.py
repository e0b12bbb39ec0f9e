"""When each key was used: noted by every process, written together, and kept while the database is away."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest

from aigen_bridge.api.auth import digest_of
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.settings import Settings
from aigen_bridge.store import key_uses
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.key_uses import KeyUses, fingerprint
from outages import rows, write
from stage import CLIENTS, KEYS, REQUESTS, make_settings, serve_api

DIGESTS = [digest_of(f"key {number}") for number in range(20)]
AWAY = "postgresql+psycopg://nobody@127.0.0.1:9/none"


async def written(database: Database) -> dict[tuple[str, str], tuple[datetime, datetime]]:
    found = await rows(database, "SELECT client, fingerprint, first_at, last_at FROM key_uses")
    return {(client, name): (first_at, last_at) for client, name, first_at, last_at in found}


def processes(database_url: str, number: int) -> list[tuple[KeyUses, Database]]:
    url = make_settings(database_url).database_url.get_secret_value()
    databases = [Database(open_engine(url, pool_size=1, name=f"process {each}")) for each in range(number)]
    return [(KeyUses(database), database) for database in databases]


async def test_a_use_is_written_once_with_its_first_and_last_time_and_never_the_key(database: Database) -> None:
    uses = KeyUses(database)
    await uses.write()
    assert await written(database) == {}, "nothing was noted"
    for _ in range(1000):
        uses.note("odoo", DIGESTS[0])
    await uses.write()
    [(first_at, last_at)] = (await written(database)).values()
    assert first_at == last_at

    await uses.write()
    assert (await written(database))["odoo", fingerprint(DIGESTS[0])] == (first_at, last_at), "not used again"
    uses.note("odoo", DIGESTS[0])
    await uses.write()
    again = (await written(database))["odoo", fingerprint(DIGESTS[0])]
    assert again[0] == first_at
    assert again[1] > last_at
    [known] = await uses.known()
    assert (known.client, known.fingerprint, known.first_at, known.last_at) == ("odoo", DIGESTS[0].hex()[:12], *again)


async def test_one_key_of_two_clients_and_two_keys_of_one_are_told_apart(database: Database) -> None:
    uses = KeyUses(database)
    for client, number in (("odoo", 0), ("odoo", 1), ("north", 0)):
        uses.note(client, DIGESTS[number])
    await uses.write()
    expected = [("north", DIGESTS[0]), *sorted((("odoo", DIGESTS[0]), ("odoo", DIGESTS[1])), key=lambda use: use[1])]
    found = [(use.client, use.fingerprint) for use in await uses.known()]
    assert found == [(client, fingerprint(digest)) for client, digest in expected]


async def test_several_processes_write_the_same_keys_at_once_without_a_deadlock(
    database: Database, database_url: str
) -> None:
    running = processes(database_url, 4)
    for turn in range(10):
        for number, (uses, _) in enumerate(running):
            for digest in DIGESTS if number % 2 else reversed(DIGESTS):
                uses.note(f"client {turn % 2}", digest)
        await asyncio.gather(*(uses.write() for uses, _ in running))
    assert len(await written(database)) == 2 * len(DIGESTS)
    for _, opened in running:
        await opened.close()


async def test_the_last_use_never_goes_back(database: Database) -> None:
    """A process whose transaction began earlier may write later."""
    uses = KeyUses(database)
    uses.note("odoo", DIGESTS[0])
    await uses.write()
    await write(database, "UPDATE key_uses SET last_at = now() + interval '1 hour'")
    before = await written(database)
    uses.note("odoo", DIGESTS[0])
    await uses.write()
    assert await written(database) == before


async def test_uses_are_kept_while_the_database_is_away_with_those_that_are_noted_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Database(open_engine(AWAY, pool_size=1, name="test"))
    uses = KeyUses(away)
    uses.note("odoo", DIGESTS[0])
    with pytest.raises(StoreUnavailableError):
        await uses.write()
    uses.note("odoo", DIGESTS[1])
    with pytest.raises(StoreUnavailableError):
        await uses.write()
    monkeypatch.setattr(uses, "_database", database)
    await uses.write()
    assert {name for _, name in await written(database)} == {fingerprint(DIGESTS[0]), fingerprint(DIGESTS[1])}
    await away.close()


async def test_a_write_that_is_cancelled_keeps_what_it_would_have_written(database: Database) -> None:
    uses = KeyUses(database)
    uses.note("odoo", DIGESTS[0])
    async with database.transaction() as connection:
        from sqlalchemy import text  # noqa: PLC0415

        await connection.execute(text("LOCK TABLE key_uses"))
        writing = asyncio.create_task(uses.write())
        while not await _waits(database):
            await asyncio.sleep(0.01)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await uses.write()
    assert len(await written(database)) == 1


async def _waits(database: Database) -> bool:
    return bool(await rows(database, "SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_the_loop_goes_on_after_an_outage_and_after_a_bug(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_uses, "WRITE_SECONDS", 0.01)
    uses = KeyUses(database)
    errors: list[Exception] = [StoreUnavailableError("away"), ValueError("a bug")]
    done = asyncio.Event()
    write_now = uses.write

    async def failing() -> None:
        if errors:
            raise errors.pop(0)
        await write_now()
        done.set()

    monkeypatch.setattr(uses, "write", failing)
    uses.note("odoo", DIGESTS[0])
    task = asyncio.create_task(uses.write_regularly())
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await written(database)) == 1


async def call(api: httpx.AsyncClient, key: str) -> int:
    return (await api.get(REQUESTS, headers={"X-API-Key": key})).status_code


async def test_every_call_with_a_known_key_is_a_use_and_a_guess_leaves_no_trace(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_uses, "WRITE_SECONDS", 0.05)
    hashed: dict[str, Any] = CLIENTS | {"ops": {"keys": [f"sha256:{digest_of('known').hex()}"], "scopes": ["ops"]}}
    settings: Settings = make_settings(database_url, clients=hashed)
    async with serve_api(settings) as one, serve_api(settings) as other:
        assert (await call(one, KEYS["odoo"]), await call(other, KEYS["odoo"]), await call(one, "known")) == (200,) * 3
        assert await call(one, KEYS["n8n"]) == 403, "a refused call uses the key, too"
        assert await call(one, "guessed") == 401
        async with asyncio.timeout(10):
            while len(await written(database)) < 3:
                await asyncio.sleep(0.02)
    expected = {("odoo", KEYS["odoo"]), ("n8n", KEYS["n8n"]), ("ops", "known")}
    assert set(await written(database)) == {(client, fingerprint(digest_of(key))) for client, key in expected}
