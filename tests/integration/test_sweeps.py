"""Deadlines that pass, and proof that nothing was forgotten."""

from typing import Any

import pytest
from sqlalchemy import text

from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.sweeps import Repair, Sweeps
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, report
from outages import write
from stage import Stage, staged, working

SOON: dict[str, Any] = {"callback": {"deadline": "1s"}, "worker": {"poll": "0.2s"}}


@pytest.fixture
def sweeps(idle_stage: Stage, database: Database) -> Sweeps:
    settings = idle_stage.settings
    return Sweeps(database, Deadlines(settings.callback.deadline, settings.image_urls.lifetime))


async def test_a_request_whose_callback_never_comes_fails_and_a_late_result_wins(database_url: str, png: bytes) -> None:
    async with staged(database_url, **SOON) as stage, working(stage.settings):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK))
        asked = await stage.ask()
        overdue = await stage.until_delivered(asked["requestId"])
        told = stage.chain.odoo.records[asked["requestId"]].error_code
        answer = await report(stage, completed(asked, png))
        ended = await stage.until(asked["requestId"], lambda r: r["status"] == "completed" and r["deliveredAt"])

    assert (overdue["status"], overdue["errorCode"], told) == ("failed", "timed_out", "timed_out")
    assert "within 1 second." in overdue["errorMessage"]
    assert answer.status_code == 202
    assert ended["errorCode"] is None
    assert stage.chain.odoo.records[asked["requestId"]].versions == (overdue["version"], ended["version"])


async def test_a_request_within_its_deadline_is_left_alone(
    idle_stage: Stage, database: Database, sweeps: Sweeps
) -> None:
    within, overdue = await idle_stage.ask(), await idle_stage.ask()
    for asked, left in ((within, "1 minute"), (overdue, "-1 second")):
        await write(
            database,
            "UPDATE requests SET status = 'dispatched', dispatched_at = now(),"
            " callback_deadline_at = now() + CAST(:left AS interval) WHERE request_id = :request_id",
            left=left,
            request_id=asked["requestId"],
        )
    failed = await sweeps.expire(lambda request_id: timed_out(request_id, idle_stage.settings.callback.deadline))

    assert [str(request_id) for request_id in failed] == [overdue["requestId"]]
    assert (await idle_stage.read(overdue["requestId"]))["errorCode"] == "timed_out"
    assert (await idle_stage.read(within["requestId"]))["status"] == "dispatched"


BREAKS = {
    "dispatch": "DELETE FROM outbox",
    "deadline": "UPDATE requests SET status = 'dispatched', dispatched_at = now()",
    "fetch": """UPDATE outbox SET state = 'superseded', finished_at = now();
                UPDATE requests SET status = 'received', awaited = '{"url": "x"}'""",
    "deliver": """UPDATE outbox SET state = 'superseded', finished_at = now();
                  UPDATE requests SET status = 'cancelled', completed_at = now() - interval '1 hour'""",
}


@pytest.mark.parametrize(("what", "statement"), BREAKS.items(), ids=BREAKS)
async def test_what_was_forgotten_is_found_and_repaired_once(
    idle_stage: Stage, database: Database, sweeps: Sweeps, what: str, statement: str
) -> None:
    asked = await idle_stage.ask()
    async with database.transaction() as connection:
        await connection.exec_driver_sql(statement)
        await connection.execute(text("UPDATE requests SET updated_at = now() - interval '1 hour'"))
    repairs = await sweeps.reconcile()

    assert [(str(r.request_id), r.what) for r in repairs] == [(asked["requestId"], what)]
    assert isinstance(repairs[0], Repair)
    assert await sweeps.reconcile() == []


async def test_a_dead_letter_is_not_forgotten_and_not_repaired(
    idle_stage: Stage, database: Database, sweeps: Sweeps
) -> None:
    await idle_stage.ask()
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE outbox SET state = 'dead', finished_at = now()"))
        await connection.execute(text("UPDATE requests SET updated_at = now() - interval '1 hour'"))

    assert await sweeps.reconcile() == []


async def test_a_chain_that_works_leaves_nothing_to_repair(stage: Stage, database: Database) -> None:
    asked = [await stage.ask() for _ in range(5)]
    for one in asked:
        await stage.until_delivered(one["requestId"])
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE requests SET updated_at = now() - interval '1 hour', completed_at = now() - interval '1 hour'")
        )
    deadlines = Deadlines(stage.settings.callback.deadline, stage.settings.image_urls.lifetime)

    assert await Sweeps(database, deadlines).reconcile() == []


async def test_a_delivery_that_somebody_discarded_does_not_hide_a_later_one_that_was_forgotten(
    idle_stage: Stage, database: Database, sweeps: Sweeps, png: bytes
) -> None:
    asked = await idle_stage.ask()
    async with database.transaction() as connection:
        await connection.exec_driver_sql("""
            UPDATE outbox SET state = 'superseded', finished_at = now();
            UPDATE requests SET status = 'failed', failed_by = 'bridge', version = 2, completed_at = now();
            INSERT INTO outbox (request_id, step, state, finished_at)
                SELECT request_id, 'deliver', 'cancelled', now() FROM requests
        """)
    await report(idle_stage, completed(asked, png))
    async with database.transaction() as connection:
        await connection.exec_driver_sql("""
            UPDATE outbox SET state = 'superseded', finished_at = now() WHERE state = 'pending';
            UPDATE outbox SET created_at = created_at - interval '2 hours';
            UPDATE requests SET updated_at = now() - interval '1 hour', completed_at = now() - interval '1 hour'
        """)

    assert [repair.what for repair in await sweeps.reconcile()] == ["deliver"]
