"""The bridge's database is restored from a backup while Odoo knows what happened since."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aged import Aged, every_kind, write
from aigen_bridge.cli.restored import lift_all
from aigen_bridge.domain.dead_letter import DeadLetterFilter, OperatorAction
from aigen_bridge.domain.delivery import SET_BACK
from aigen_bridge.domain.errors import ReplayLeaseLostError
from aigen_bridge.domain.outbox import Delivered, Done, SetBack, Settlement
from aigen_bridge.domain.replay_job import ReplayState, ReplayStep
from aigen_bridge.domain.request import FINAL, Status, Step, Transition
from aigen_bridge.domain.session import Role
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store import restoration, transitions
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.replays import ReplayQueue
from aigen_bridge.store.restoration import Restoration
from aigen_bridge.store.sessions import Sessions
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, report
from processes import run
from stage import CLIENTS, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api, sqlalchemy_url, working

DEADLINES = Deadlines(timedelta(minutes=10), timedelta(minutes=5))
FLOOR = 50_000_000
"""Seconds since 2025: some day in 2026."""


@asynccontextmanager
async def bridge(url: str, chain: Chain) -> AsyncIterator[Stage]:
    """API and worker on this database. When it ends, nothing is connected to the database."""
    settings = make_settings(url, **chain.bridge, worker={"poll": "0.2s"})
    async with serve_api(settings) as api, working(settings):
        yield Stage(api, chain, settings)


@pytest.fixture
def backup(postgres_url: str, database_url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a copy, and what makes it from the test's database."""
    parts = urlsplit(database_url)
    original = parts.path.lstrip("/")

    def admin(statement: str) -> None:
        with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    yield (
        urlunsplit(parts._replace(path=f"/{original}_b")),
        lambda: admin(f"CREATE DATABASE {original}_b TEMPLATE {original}"),
    )
    admin(f"DROP DATABASE IF EXISTS {original}_b WITH (FORCE)")


def until_in_odoo(chain: Chain, request_id: str, status: str) -> Any:
    async def wait() -> None:
        async with asyncio.timeout(20):
            while (record := chain.odoo.records.get(request_id)) is None or record.status != status:
                await asyncio.sleep(0.02)

    return wait()


async def test_a_paid_picture_is_seen_though_the_database_is_older_than_what_odoo_knows(
    database_url: str, backup: tuple[str, Callable[[], None]], png: bytes
) -> None:
    """Three requests are `dispatched` in the backup. After it, two time out and one is completed."""
    restored_url, take_backup = backup
    async with simulators(callback_key=KEYS["n8n"], flux_seconds=0) as chain:
        odoo = chain.odoo.records
        async with bridge(database_url, chain) as before:
            chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
            unaided, aided, done = [await before.ask() for _ in range(3)]
            for asked in (unaided, aided, done):
                await before.until(asked["requestId"], lambda r: r["status"] == "dispatched")
        take_backup()
        async with bridge(database_url, chain) as lost:
            assert (await report(lost, completed(done, png))).status_code == 202
            await lost.until_delivered(done["requestId"])
            with closing(psycopg.connect(database_url, autocommit=True)) as connection:
                connection.execute("UPDATE requests SET callback_deadline_at = now() WHERE status = 'dispatched'")
            for asked in (unaided, aided):
                await until_in_odoo(chain, asked["requestId"], "failed")
        assert [odoo[r["requestId"]].version for r in (unaided, aided, done)] == [3, 3, 3]

        async with bridge(restored_url, chain) as restored:
            await report(restored, completed(unaided, png))
            mended = await restored.until_delivered(unaided["requestId"])
            await until_in_odoo(chain, unaided["requestId"], "completed")
            notes = [e.get("note") or "" for e in await restored.timeline(unaided["requestId"])]
            incidents = (await restored.api.get("/metrics")).text
        assert odoo[unaided["requestId"]].versions == (3, 4)
        assert (mended["status"], mended["version"]) == ("completed", 4)
        assert "restored from a backup" in notes[-2] + notes[-1]
        assert 'aigen_incidents_open{cause="database_set_back",odoo="default"} 1' in incidents

        settings = make_settings(restored_url, **chain.bridge)
        sections = {"CLIENTS": CLIENTS, "N8N": chain.bridge["n8n"], "ODOO": chain.bridge["odoo"]}
        environment = {f"AIGEN_{name}": json.dumps(value) for name, value in sections.items()}
        environment |= {"AIGEN_DATABASE_URL": restored_url, "AIGEN_PUBLIC_URL": str(settings.public_url)}
        told = await asyncio.to_thread(run, "restored", environment=environment)
        assert told.returncode == 0, told.stderr
        assert "of 3 requests" in told.stdout
        assert ". 2 of them are delivered" in told.stdout
        async with bridge(restored_url, chain) as restored:
            await until_in_odoo(chain, aided["requestId"], "dispatched")
            cancelled = await restored.until(done["requestId"], lambda r: r["status"] == "cancelled")
            await report(restored, completed(aided, png))
            await until_in_odoo(chain, aided["requestId"], "completed")
            ended = await restored.until_delivered(aided["requestId"])
            wanted = await restored.api.get(
                f"{REQUESTS}/{done['requestId']}/wanted",
                params={"correlationId": done["correlationId"]},
                headers=restored.as_client("n8n"),
            )
        assert ended["version"] > 10**7
        assert (odoo[done["requestId"]].versions, odoo[done["requestId"]].status) == ((3,), "completed")
        assert cancelled["version"] > 10**7
        assert wanted.json()["wanted"] is False


async def test_a_picture_that_odoo_has_ends_the_request_though_n8n_got_it_again_before(
    database_url: str, backup: tuple[str, Callable[[], None]], png: bytes
) -> None:
    """The request is `queued` in the backup, and completed after it."""
    restored_url, take_backup = backup
    async with simulators(callback_key=KEYS["n8n"], flux_seconds=0) as chain:
        chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        settings = make_settings(database_url, **chain.bridge)
        async with serve_api(settings) as api:
            asked = await Stage(api, chain, settings).ask()
        take_backup()
        async with bridge(database_url, chain) as lost:
            await lost.until(asked["requestId"], lambda r: r["status"] == "dispatched")
            await report(lost, completed(asked, png))
            await lost.until_delivered(asked["requestId"])

        database = Database(open_engine(sqlalchemy_url(restored_url), pool_size=1, name="test"))
        spread = {"delay": timedelta(seconds=3), "spacing": timedelta(0)}
        await Restoration(database, DEADLINES).lift(FLOOR, None, is_open=True, **spread)
        await database.close()
        async with bridge(restored_url, chain) as restored:
            await restored.until(asked["requestId"], lambda r: r["status"] == "cancelled")
        assert len(chain.n8n.calls.to("webhook")) == 2


async def test_odoo_is_asked_about_a_request_that_n8n_gets_again_because_it_fell_silent(database: Database) -> None:
    [request_id] = await write(database, [Aged(status="dispatched", delivered=False, entries=())])
    await lift_all(Restoration(database, DEADLINES), asyncio.Event(), timedelta(0))
    again = Transition(request_id=request_id, before=frozenset({Status.DISPATCHED}), after=Status.QUEUED)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        assert await locked.apply([again], DEADLINES) == {request_id}
    assert (await states(database))[request_id].pending == 1


async def test_a_question_to_odoo_that_was_given_up_is_no_dead_letter_once_n8n_has_the_request_again(
    database: Database,
) -> None:
    [request_id] = await write(database, [Aged(status="queued", delivered=False, entries=("dead",))])
    sent = Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.DISPATCHED)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        assert await locked.apply([sent], DEADLINES) == {request_id}
        left = await connection.execute(text("SELECT FROM outbox WHERE state = 'dead'"))
    assert left.all() == []


STATES = text("""
    SELECT r.request_id, r.version, r.delivered_at IS NOT NULL AS delivered, (
        SELECT max(version) FROM request_changes AS c WHERE c.request_id = r.request_id
    ) AS recorded, (
        SELECT count(*) FROM outbox AS o
        WHERE o.request_id = r.request_id AND o.step = 'deliver' AND o.state = 'pending'
    ) AS pending
    FROM requests AS r
""")


async def states(database: Database) -> dict[UUID, Any]:
    async with database.reading() as connection:
        return {row.request_id: row for row in await connection.execute(STATES)}


async def test_every_version_is_raised_and_what_odoo_may_not_know_is_delivered_again_however_often_it_is_run(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "BATCH", 50)
    kinds = await write(database, every_kind())
    restoring = Restoration(database, DEADLINES)
    counted = await restoring.count()
    stopped = asyncio.Event()
    stopped.set()
    with pytest.raises(SystemExit) as ended:
        await lift_all(restoring, stopped, timedelta(0))
    assert ended.value.code == 1
    for _ in range(2):
        before = await states(database)
        await lift_all(restoring, asyncio.Event(), timedelta(0))
        found = await states(database)
        assert all(row.version > max(FLOOR, before[i].version) for i, row in found.items())
        assert all(row.recorded == row.version for row in found.values())
        assert {i for i, row in found.items() if row.pending} == {i for i, kind in kinds.items() if is_told_again(kind)}
        assert not any(row.pending > 1 for row in found.values())
    assert sum(map(is_told_again, kinds.values())) == counted["open"] + counted["failed"] + counted["undelivered"]
    assert counted["requests"] == len(kinds)


def is_told_again(kind: Aged) -> bool:
    """An independent statement of the rule. The failures of `Aged` are all of the bridge."""
    may_have_moved = kind.status not in FINAL or kind.status == "failed"
    return may_have_moved or not {"pending", "dead"}.isdisjoint(kind.entries)


class Counting(Database):
    """Counts the rows of `requests` that the last transaction has read."""

    rows_read = 0

    @asynccontextmanager
    async def transaction(self, **options: bool) -> AsyncIterator[AsyncConnection]:
        async with super().transaction(**options) as connection:
            yield connection
            self.rows_read = await connection.scalar(ROWS_READ) or 0


ROWS_READ = text("""
    SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'requests'
""")
MANY = text("""
    INSERT INTO requests (request_id, correlation_id, event, status, version, error_code, failed_by, completed_at)
    SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), gen_random_uuid(), '{}', 'failed', 3, 'x', 'n8n', now()
    FROM generate_series(1, 5000) AS n
""")


async def test_a_batch_reads_only_its_own_requests_however_many_came_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration, "BATCH", 10)
    database = Counting(open_engine(sqlalchemy_url(database_url), pool_size=1, name="test"))
    async with database.writing() as connection:
        await connection.execute(MANY)
    late: dict[str, Any] = {"after": UUID(int=4900), "is_open": False}
    lifted = await Restoration(database, DEADLINES).lift(FLOOR, **late, delay=timedelta(0), spacing=timedelta(0))
    await database.close()
    assert (lifted.lifted, lifted.last) == (10, UUID(int=4910))
    assert database.rows_read < 200


async def test_sessions_end_and_background_replays_stop_because_what_ended_them_may_be_forgotten(
    database: Database,
) -> None:
    sessions, replays = Sessions(database), ReplayQueue(database)
    token = await sessions.open("ops", Role.OPERATOR, odoo=None, key_digest=None, note="signed in")
    job = await replays.begin(DeadLetterFilter(), OperatorAction("ops"), 1)
    leased = await replays.claim("worker", timedelta(minutes=1))
    assert leased

    await Restoration(database, DEADLINES).begin(OperatorAction("kim"))
    assert await sessions.find(token) is None
    assert (await replays.get(job.id)).state is ReplayState.STOPPED
    with pytest.raises(ReplayLeaseLostError):
        await replays.advance(leased.lease, ReplayStep((job.created_at, "entry-1"), None), timedelta(minutes=1))


async def test_a_delivery_that_is_under_way_meanwhile_neither_counts_nor_is_lost(database: Database) -> None:
    [request_id] = await write(database, [Aged(status="failed", delivered=False, entries=("pending",))])
    outbox = Outbox(database, DEADLINES, PostgresImages(database))
    [claim] = await outbox.claim(Step.DELIVER, limit=1, lease=timedelta(minutes=1), owner="test")
    await lift_all(Restoration(database, DEADLINES), asyncio.Event(), timedelta(0))
    late = await outbox.settle(Settlement(claim, Done(Delivered(claim.request.version)), timedelta(0)))
    row = (await states(database))[request_id]
    assert (late, row.delivered, row.pending) == (None, False, 1)


async def test_deliveries_are_spread_over_time_and_n8n_gets_its_full_time_again(database: Database) -> None:
    await write(database, [Aged(status="failed")] * 3 + [Aged(status="dispatched", delivered=False, entries=())])
    restoring = Restoration(database, DEADLINES)
    spread: dict[str, Any] = {"spacing": timedelta(minutes=1), "delay": timedelta(hours=1)}
    for is_open in (True, False):
        await restoring.lift(FLOOR, None, is_open=is_open, **spread)
    due = text("SELECT extract(epoch FROM due_at - now()) FROM outbox WHERE state = 'pending' ORDER BY due_at")
    left = text("SELECT extract(epoch FROM callback_deadline_at - now()) FROM requests WHERE status = 'dispatched'")
    async with database.reading() as connection:
        seconds = [float(row) for row in (await connection.execute(due)).scalars()]
        deadline = float(await connection.scalar(left) or 0)
    assert seconds == pytest.approx([3600, 3600, 3660, 3720], abs=30)
    assert deadline == pytest.approx(600, abs=30)


async def test_a_request_is_lifted_once_for_what_odoo_knows_because_another_bridge_may_do_the_same(
    database: Database,
) -> None:
    [request_id] = await write(database, [Aged(delivered=False, entries=("pending",))])
    outbox = Outbox(database, DEADLINES, PostgresImages(database))
    seen = []
    for above in (9, 12):
        [claim] = await outbox.claim(Step.DELIVER, limit=1, lease=timedelta(minutes=1), owner="test")
        effect = SetBack(claim.request.version, above, f"{SET_BACK}version {above} of it")
        await outbox.settle(Settlement(claim, Done(effect), timedelta(0)))
        row = (await states(database))[request_id]
        seen.append((row.version, row.recorded, row.delivered, row.pending))
    assert seen == [(10, 10, False, 1), (10, 10, True, 0)]


async def test_the_result_of_a_forgotten_request_is_taken_in_once_odoo_has_sent_it_again(
    idle_stage: Stage, png: bytes
) -> None:
    event = make_event()
    unknown = await report(idle_stage, completed(event, png))
    ops = idle_stage.as_client("ops")
    await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))
    only = {"kind": "callback", "errorCode": "request_unknown"}
    replayed = await idle_stage.api.post("/api/v1/ops/dead-letters/replay", json=only, headers=ops)
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(event["requestId"])

    assert (unknown.status_code, len(replayed.json()["replayed"])) == (404, 1)
    assert (ended["status"], len(idle_stage.chain.n8n.calls.to("webhook"))) == ("completed", 0)
