"""What waits for several Odoos: dispatched in turn, delivered by a lane for each Odoo, one breaker for each."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from aigen_bridge.contracts.views import next_step
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.delivery import Lift
from aigen_bridge.domain.destination import BreakerConfig, every_destination, odoo_destination
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.outbox import Claim, Dead, Delivered, Done, Outcome, Retry, SetBack, Settlement
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import NewRequest, Status, Step, Transition
from aigen_bridge.store import transitions
from aigen_bridge.store.alerts import Alerts
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import Destinations
from aigen_bridge.store.gauges import GaugeReader
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.restoration import Restoration
from aigen_bridge.store.sweeps import Repair, Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.store.wakeup import listen
from outages import rows, write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
ODOOS = ("default", "north", "south")
CONFIG = BreakerConfig(concurrency_limit=4, probe_every=timedelta(minutes=1), hold=timedelta(hours=1))
BREAKERS = {each: CONFIG for each in every_destination(ODOOS).values() if each.step is Step.DELIVER} | {
    every_destination(ODOOS)["n8n"]: BreakerConfig()
}
BY = OperatorAction(by="test", note=None)
AWAY = TransientError("odoo_unreachable", "Odoo does not answer.", away=True)
NORTH = odoo_destination("north")


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, DEADLINES, PostgresImages(database), BREAKERS)


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, odoo: str, count: int = 1) -> list[UUID]:
    wanted = [NewRequest(uuid4(), uuid4(), make_event(), odoo=odoo) for _ in range(count)]
    await requests.accept_all(wanted)
    return [new.request_id for new in wanted]


async def deliverable(requests: Requests, odoo: str) -> UUID:
    """A request whose end is to be delivered."""
    [request_id] = await accept(requests, odoo)
    assert await requests.apply(
        Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    )
    return request_id


async def claim(outbox: Outbox, lane: str, limit: int = 10, in_progress: Sequence[Claim] = ()) -> list[Claim]:
    minute = timedelta(minutes=1)
    return await outbox.claim(lane, limit=limit, lease=minute, owner="test", in_progress=in_progress)


async def settle(outbox: Outbox, claim: Claim, outcome: Outcome) -> Outcome | None:
    [settled] = await outbox.settle_all([Settlement(claim, outcome, timedelta(milliseconds=10))])
    return settled


async def fail(outbox: Outbox, database: Database, lane: str, times: int = 4) -> None:
    """Tries the only entry of a lane so often, and finds its destination away each time."""
    for _ in range(times):
        [claimed] = await claim(outbox, lane)
        await settle(outbox, claimed, Retry(claimed.claimed_at, AWAY))
    assert await rows(database, "SELECT FROM destinations WHERE name = 'odoo:north' AND opened_at IS NOT NULL")


async def test_a_single_request_does_not_wait_for_the_many_of_another_odoo(requests: Requests, outbox: Outbox) -> None:
    await accept(requests, "default", 30)
    [north] = await accept(requests, "north")
    [south] = await accept(requests, "south")
    first, second = await claim(outbox, Step.DISPATCH, 4), await claim(outbox, Step.DISPATCH, 4)

    assert {north, south} <= {claimed.request.request_id for claimed in first}
    assert [claimed.request.odoo for claimed in second] == ["default"] * 4


async def test_an_odoo_with_fewer_dispatches_in_progress_has_its_turn_first(requests: Requests, outbox: Outbox) -> None:
    await accept(requests, "north", 3)
    busy = await claim(outbox, Step.DISPATCH, 3)
    await accept(requests, "north", 3)
    await accept(requests, "default", 5)
    claimed = await claim(outbox, Step.DISPATCH, 4, in_progress=busy)

    assert sorted(each.request.odoo for each in claimed) == ["default", "default", "default", "north"]


async def test_workers_that_take_turns_at_once_claim_each_entry_once(requests: Requests, outbox: Outbox) -> None:
    for odoo in ODOOS:
        await accept(requests, odoo, 20)
    claimed: list[Claim] = []
    async with asyncio.timeout(20):
        while len(claimed) < 60:
            found = await asyncio.gather(*(claim(outbox, Step.DISPATCH, 7) for _ in range(6)))
            claimed += [each for claims in found for each in claims]

    assert len({each.entry_id for each in claimed}) == 60
    assert {each.fence for each in claimed} == {1}
    assert (await outbox.next_due(Step.DISPATCH)).after > timedelta(0)


@pytest.mark.parametrize("odoo", ["default", "north"])
async def test_a_lane_gets_the_deliveries_of_its_odoo_and_no_others(
    requests: Requests, outbox: Outbox, odoo: str
) -> None:
    asked = {each: await deliverable(requests, each) for each in ODOOS}

    assert [each.request.request_id for each in await claim(outbox, queue_of(Step.DELIVER, odoo))] == [asked[odoo]]


async def test_the_history_names_the_step_and_not_the_queue(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    request_id = await deliverable(requests, "north")
    await claim(outbox, "deliver:north")
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 second' WHERE step = 'deliver:north'")
    [again] = await claim(outbox, "deliver:north")
    await settle(outbox, again, Retry(again.claimed_at, AWAY))
    [pending] = (await Timelines(database, destinations=BREAKERS).pending_work(request_id)).entries

    assert await rows(database, "SELECT step, outcome FROM attempts ORDER BY id") == [
        ("deliver", "lost"),
        ("deliver", "retry"),
    ]
    assert pending.step is Step.DELIVER


async def test_an_odoo_that_is_away_opens_its_own_breaker_though_others_answer(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    held = await deliverable(requests, "north")
    await deliverable(requests, "default")
    [works] = await claim(outbox, "deliver")
    [first] = await claim(outbox, "deliver:north")
    await settle(outbox, first, Retry(first.claimed_at, AWAY))
    await settle(outbox, works, Done(Delivered(works.request.version)))
    await fail(outbox, database, "deliver:north", 3)
    states = {state.destination.name: state for state in await Destinations(database, BREAKERS).states()}
    holds = await Destinations(database, BREAKERS).held([held])
    [pending] = (await Timelines(database, destinations=BREAKERS).pending_work(held)).entries

    assert {name for name, state in states.items() if state.opened_at} == {"odoo:north"}
    assert list(states) == ["n8n", "odoo", "odoo:north", "odoo:south"]
    assert (states["odoo:north"].held, states["odoo:north"].destination.label) == (1, "Odoo north")
    assert holds[held].destination == "odoo:north"
    assert pending.destination_is_away
    assert await rows(database, "SELECT cause FROM incidents") == [("odoo_down:north",)]


async def test_its_incident_names_it_and_ends_with_its_own_breaker(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    await deliverable(requests, "north")
    await fail(outbox, database, "deliver:north")
    await deliverable(requests, "default")
    [works] = await claim(outbox, "deliver")
    await settle(outbox, works, Done(Delivered(works.request.version)))
    alerts = Alerts(database, timedelta(0), BREAKERS)
    await alerts.end_quiet_incidents()
    [alert] = await alerts.claim(Step.ALERT, limit=5, lease=timedelta(minutes=1), owner="test")
    lasts = await rows(database, "SELECT recovered_at FROM incidents")
    await write(database, "UPDATE destinations SET probe_at = now() WHERE opened_at IS NOT NULL")
    [probe] = await claim(outbox, "deliver:north")
    await settle(outbox, probe, Done(Delivered(probe.request.version)))

    assert (alert.incident.cause, alert.incident.odoo) == ("odoo_down", "north")
    assert lasts == [(None,)]
    assert await rows(database, "SELECT cause, recovered_at IS NULL FROM incidents") == [("odoo_down:north", False)]


async def test_what_could_not_be_delivered_is_an_incident_of_its_odoo_that_ends_when_it_is_quiet(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    for odoo in ("default", "north"):
        await deliverable(requests, odoo)
        [claimed] = await claim(outbox, queue_of(Step.DELIVER, odoo))
        await settle(outbox, claimed, Dead(PermanentError("odoo_usererror", "No."), None))
    found = await rows(database, "SELECT cause, times FROM incidents ORDER BY cause")
    gauges = await GaugeReader(database, BREAKERS).read()
    await Alerts(database, timedelta(0), BREAKERS).end_quiet_incidents()

    assert found == [("delivery_failed", 1), ("delivery_failed:north", 1)]
    assert gauges.incidents["delivery_failed:north"] == 1
    assert gauges.dead["deliver"] == 2
    assert await rows(database, "SELECT FROM incidents WHERE recovered_at IS NULL") == []


@pytest.mark.parametrize("step", [Step.DISPATCH, Step.DELIVER])
@pytest.mark.parametrize("by_request", [True, False])
async def test_a_replay_goes_to_the_queue_of_the_request(
    requests: Requests,
    outbox: Outbox,
    database: Database,
    step: Step,
    by_request: bool,  # noqa: FBT001
) -> None:
    request_id = (await accept(requests, "north"))[0] if step is Step.DISPATCH else await deliverable(requests, "north")
    [claimed] = await claim(outbox, "dispatch" if step is Step.DISPATCH else "deliver:north")
    failed = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by="bridge",
        error_code="dispatch_failed",
    )
    await settle(outbox, claimed, Dead(PermanentError("http_400", "No."), None))
    if step is Step.DISPATCH:
        assert await requests.apply(failed)
    operations = Operations(database, DEADLINES, PostgresImages(database))
    if by_request:
        await operations.replay_request(request_id, BY)
    else:
        assert await operations.replay_entry(claimed.entry_id, BY)

    pending = await rows(database, "SELECT step FROM outbox WHERE state = 'pending' AND request_id IS NOT NULL")
    assert pending == [(f"{step}:north",)]


async def test_a_delivery_of_an_older_version_is_replaced_in_its_own_queue(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    request_id = await deliverable(requests, "north")
    [claimed] = await claim(outbox, "deliver:north")
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        assert await locked.lift([Lift(request_id, 100, "restored")], DEADLINES) == {request_id: True}

    assert await settle(outbox, claimed, Done(Delivered(claimed.request.version))) is None
    [again] = await claim(outbox, "deliver:north")
    assert again.request.version == 101
    assert await rows(database, "SELECT step, state FROM outbox ORDER BY id OFFSET 1") == [
        ("deliver:north", "superseded"),
        ("deliver:north", "pending"),
    ]


async def test_restoring_counts_and_ends_what_concerns_every_odoo(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    for odoo in ("default", "north"):
        await deliverable(requests, odoo)
        [claimed] = await claim(outbox, queue_of(Step.DELIVER, odoo))
        await settle(outbox, claimed, Done(SetBack(claimed.request.version, 50, "Odoo has version 50 of it")))
    restoration = Restoration(database, DEADLINES, ODOOS)
    found = await restoration.count()
    await restoration.begin(BY)

    assert found["undelivered"] == 2
    causes = await rows(database, "SELECT cause, recovered_at IS NULL FROM incidents ORDER BY cause")
    assert causes == [("database_set_back", False), ("database_set_back:north", False)]


async def test_only_an_entry_that_is_missing_is_repaired(requests: Requests, database: Database) -> None:
    whole, orphan, discarded = [await deliverable(requests, "north") for _ in range(3)]
    await write(
        database,
        "UPDATE outbox SET state = 'cancelled', finished_at = now(), created_at = now() + interval '1 second'"
        " WHERE request_id = :discarded AND state = 'pending'",
        discarded=discarded,
    )
    await write(database, "UPDATE requests SET completed_at = now() - interval '1 hour', updated_at = now()")
    sweeps = Sweeps(database, DEADLINES)
    first = await sweeps.reconcile()
    await write(database, "DELETE FROM outbox WHERE request_id = :orphan", orphan=orphan)

    assert first == []
    assert await sweeps.reconcile() == [Repair(orphan, "deliver")]
    queues = "SELECT request_id, step FROM outbox WHERE state = 'pending' AND step <> 'alert' ORDER BY id"
    assert await rows(database, queues) == [(whole, "deliver:north"), (orphan, "deliver:north")]


async def test_what_waits_for_an_odoo_that_is_not_configured_any_more_is_named(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    await accept(requests, "north", 2)
    gone = await deliverable(requests, "gone")
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 hour', created_at = due_at")
    inspection = Inspection(database, BREAKERS)
    [unknown] = await inspection.unknown_odoos()
    waits = next_step(await requests.get(gone), await Timelines(database, destinations=BREAKERS).pending_work(gone))

    assert (unknown.kind, unknown.count, unknown.oldest_age > timedelta(0)) == ("gone", 1, True)
    assert waits.what == "The deliver waits until Odoo gone is in the settings again (AIGEN_ODOOS)."
    assert [(found.kind, found.count) for found in await inspection.waiting()] == [("dispatch:north", 2)]
    assert await claim(outbox, "deliver") == []


async def test_each_new_entry_wakes_the_lane_of_its_queue(
    requests: Requests, database: Database, database_url: str
) -> None:
    heard: list[str] = []
    listening = asyncio.create_task(listen(database_url, heard.append))
    async with asyncio.timeout(20):
        while not heard:
            await asyncio.sleep(0.01)
        request_id = await deliverable(requests, "north")
        async with database.transaction() as connection:
            locked = await transitions.lock(connection, [request_id])
            await locked.lift([Lift(request_id, 100, "restored")], DEADLINES)
        while len(heard) < 4:
            await asyncio.sleep(0.01)
    listening.cancel()

    assert heard == ["", "dispatch:north", "deliver:north", "deliver:north"]


async def test_the_uuid_of_a_database_is_learned_from_its_first_answer_and_kept(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    known = []
    for uuid in ("first", "second"):
        await deliverable(requests, "north")
        [claimed] = await claim(outbox, "deliver:north")
        known.append(claimed.database_uuid)
        await settle(outbox, claimed, Done(Delivered(claimed.request.version, uuid)))

    assert known == [None, "first"]
    assert await rows(database, "SELECT name, database_uuid FROM odoos") == [("north", "first")]


async def test_the_limit_of_calls_in_flight_is_that_of_each_odoo(requests: Requests, outbox: Outbox) -> None:
    for _ in range(6):
        for odoo in ODOOS:
            await deliverable(requests, odoo)
    lanes = ("deliver:north", "deliver:south", "deliver", "deliver:north")

    assert [len(await claim(outbox, lane)) for lane in lanes] == [4, 4, 4, 0]
    assert (await outbox.next_due("deliver:north")).is_blocked
