"""A paused destination: nothing is sent to it, nothing expires, nobody is alarmed, and afterwards all goes on."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from aigen_bridge.contracts.views import next_step
from aigen_bridge.doctor.destinations import look_at_destinations
from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import ODOO, Availability, BreakerConfig, every_destination, odoo_destination
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.generation import GenerationPolicy
from aigen_bridge.domain.outbox import Advance, Claim, Dead, Done, Fail, Held, Outcome, Retry, Settlement
from aigen_bridge.domain.request import FailureCode, NewRequest, Status, Transition
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.store.database import Database
from aigen_bridge.store.destination_changes import ChangeableDestinations
from aigen_bridge.store.gauges import GaugeReader
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.overview import Overview
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.store.wakeup import EVERYTHING, listen
from outages import rows, write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
REGISTRY = every_destination(["default", "north"])
NORTH = odoo_destination("north")
ONE = BreakerConfig(failures=5, hold=timedelta(minutes=10), probe_every=timedelta(minutes=1))
BREAKERS = {REGISTRY["n8n"]: ONE, ODOO: BreakerConfig(concurrency_limit=4), NORTH: BreakerConfig(concurrency_limit=4)}
BY, OTHER = OperatorAction("ops", "N8N is being upgraded."), OperatorAction("oidc:kim", "Odoo is slow.")
POLICY = GenerationPolicy(silence=timedelta(seconds=30))
AWAY = TransientError("http_503", "N8N answered 503.", http_status=503, away=True)
OPEN = "UPDATE destinations SET failures = 9, opened_at = now(), probe_at = now() WHERE name = 'n8n'"
PROBE_DUE = "UPDATE destinations SET probe_at = now() - interval '1 second' WHERE name = 'n8n'"
PAUSES = "SELECT CAST(extract(day FROM now() - began_at) AS int) AS days FROM destination_pauses ORDER BY began_at DESC"
MONTH_LATER = """
    UPDATE destination_pauses SET began_at = began_at - interval '31 days', ended_at = ended_at - interval '31 days'
"""
HOUR_LATER = """
    UPDATE destinations SET opened_at = opened_at - interval '1 hour', probe_at = probe_at - interval '1 hour',
        paused_at = paused_at - interval '1 hour', error_since = error_since - interval '1 hour';
    UPDATE destination_pauses SET began_at = began_at - interval '1 hour', ended_at = ended_at - interval '1 hour';
    UPDATE outbox SET created_at = created_at - interval '1 hour', due_at = due_at - interval '1 hour';
    UPDATE requests SET created_at = created_at - interval '1 hour', updated_at = updated_at - interval '1 hour',
        dispatched_at = dispatched_at - interval '1 hour', completed_at = completed_at - interval '1 hour',
        callback_deadline_at = callback_deadline_at - interval '1 hour';
    UPDATE generations SET quiet_until = quiet_until - interval '1 hour';
    UPDATE incidents SET opened_at = opened_at - interval '1 hour', seen_at = seen_at - interval '1 hour',
        recovered_at = recovered_at - interval '1 hour';
    INSERT INTO api_beats (id, since, at) VALUES (1, now() - interval '2 hours', now())
        ON CONFLICT (id) DO UPDATE SET at = now()
"""
"""Makes an hour pass, for everything but the beats of the API, which can hear N8N all the time."""


@pytest.fixture
def workers(database: Database) -> list[Outbox]:
    """The outbox as several workers have it."""
    return [Outbox(database, DEADLINES, PostgresImages(database), BREAKERS, POLICY) for _ in range(2)]


@pytest.fixture
def destinations(database: Database) -> ChangeableDestinations:
    return ChangeableDestinations(database, BREAKERS)


@pytest.fixture
def sweeps(database: Database) -> Sweeps:
    return Sweeps(database, DEADLINES)


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, count: int = 1, odoo: str = "default") -> list[UUID]:
    wanted = [NewRequest(uuid4(), uuid4(), make_event(), odoo=odoo) for _ in range(count)]
    await requests.accept_all(wanted)
    return [new.request_id for new in wanted]


async def deliverable(requests: Requests, odoo: str) -> UUID:
    """A request whose end is to be delivered."""
    [request_id] = await accept(requests, odoo=odoo)
    assert await requests.apply(
        Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    )
    return request_id


async def claim(outbox: Outbox, lane: str = "dispatch", limit: int = 100) -> list[Claim]:
    return await outbox.claim(lane, limit=limit, lease=timedelta(minutes=5), owner="test")


async def settle(outbox: Outbox, outcome: Outcome, *claims: Claim) -> list[Outcome | None]:
    return await outbox.settle_all([Settlement(c, outcome, timedelta(milliseconds=10)) for c in claims])


async def dispatched(requests: Requests, outbox: Outbox, *, speaks: bool = False) -> UUID:
    """A request that N8N has taken."""
    [request_id] = await accept(requests)
    await settle(outbox, Done(Advance(Status.DISPATCHED, speaks=speaks)), *await claim(outbox))
    return request_id


async def hours(database: Database, number: int = 1) -> None:
    async with database.transaction() as connection:
        for _ in range(number):
            for statement in HOUR_LATER.split(";"):
                await connection.exec_driver_sql(statement)


async def expire(sweeps: Sweeps) -> Sequence[UUID]:
    return await sweeps.expire(lambda request_id: timed_out(request_id, DEADLINES.callback))


async def test_nothing_is_claimed_on_any_worker_until_it_is_resumed(
    requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests, 2)
    assert await destinations.pause("n8n", BY)
    assert [await claim(worker) for worker in workers] == [[], []]
    due = await workers[0].next_due("dispatch")
    assert due.is_blocked
    assert due.after is not None
    assert due.after <= timedelta(seconds=5)

    assert await destinations.resume("n8n", BY)
    assert len(await claim(workers[0])) == 2


async def test_workers_are_told_at_once_of_a_resume_and_of_another_limit(
    database_url: str, destinations: ChangeableDestinations
) -> None:
    woken: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(listen(database_url, woken.put_nowait))
    async with asyncio.timeout(20):
        assert await woken.get() == EVERYTHING  # it listens
        await destinations.pause("n8n", BY)
        await destinations.resume("n8n", BY)
        assert await woken.get() == EVERYTHING
        await destinations.limit("n8n", 9, BY)
        assert await woken.get() == EVERYTHING
    listening.cancel()


async def test_no_probe_is_sent_while_it_is_paused_and_one_at_once_afterwards(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests, 3)
    await write(database, OPEN)
    await destinations.pause("n8n", BY)
    await hours(database)
    assert await claim(workers[0]) == []

    await destinations.resume("n8n", BY)
    [probe] = await claim(workers[0])
    assert not probe.held_too_long
    assert await claim(workers[1]) == []


async def test_the_others_are_claimed_and_delivered_as_ever(
    requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await deliverable(requests, "default")
    await deliverable(requests, "north")
    await accept(requests, odoo="north")
    await destinations.pause("odoo:north", BY)

    assert [len(await claim(workers[0], lane)) for lane in ("deliver", "deliver:north", "dispatch")] == [1, 0, 1]


async def test_the_time_of_pauses_does_not_count_for_the_age_of_what_is_held(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    """Each entry is young when the pause begins, and must not be given up because N8N is still away after it."""
    await accept(requests, 2)
    for _ in range(2):
        await destinations.pause("n8n", BY)
        await hours(database, 2)
        await destinations.resume("n8n", BY)
    await write(database, OPEN)
    [probe] = await claim(workers[0])

    assert not probe.held_too_long
    assert datetime.now(UTC) - probe.began_at < timedelta(minutes=1)
    [ended] = await settle(workers[0], Dead(AWAY, Fail(FailureCode.DISPATCH_FAILED, "away")), probe)
    assert isinstance(ended, Held)

    await hours(database)
    await write(database, PROBE_DUE)
    assert [each.held_too_long for each in await claim(workers[1])] == [True, True]


async def test_the_deadline_of_what_n8n_has_in_hand_stands_still(
    database: Database,
    requests: Requests,
    workers: list[Outbox],
    destinations: ChangeableDestinations,
    sweeps: Sweeps,
) -> None:
    request_id = await dispatched(requests, workers[0])
    await destinations.pause("n8n", BY)
    await hours(database, 3)
    assert await expire(sweeps) == []
    assert (await Inspection(database).overdue()).count == 0

    await destinations.resume("n8n", BY)
    assert await expire(sweeps) == []
    pending = await Timelines(database).pending_work(request_id)
    assert pending.callback_deadline_at is not None
    left = pending.callback_deadline_at - datetime.now(UTC)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)

    await hours(database)
    assert (await Inspection(database).overdue()).count == 1
    assert await expire(sweeps) == [request_id]


async def test_not_even_a_deadline_that_had_passed_before_fails_a_request_during_the_pause(
    database: Database,
    requests: Requests,
    workers: list[Outbox],
    destinations: ChangeableDestinations,
    sweeps: Sweeps,
) -> None:
    request_id = await dispatched(requests, workers[0])
    await write(database, "UPDATE requests SET callback_deadline_at = now() - interval '1 hour'")
    await destinations.pause("n8n", BY)
    assert await expire(sweeps) == []
    await destinations.resume("n8n", BY)
    assert await expire(sweeps) == [request_id]


async def test_a_deadline_that_an_outage_had_prolonged_is_not_cut_short_by_a_pause(
    database: Database,
    requests: Requests,
    workers: list[Outbox],
    destinations: ChangeableDestinations,
    sweeps: Sweeps,
) -> None:
    """The rule that waits for one more deadline after an outage looks at the clock, too."""
    request_id = await dispatched(requests, workers[0], speaks=True)
    await write(database, "UPDATE generations SET quiet_until = now() + interval '10 hours'")
    await write(database, "UPDATE requests SET callback_deadline_at = now() - interval '1 minute'")
    await write(database, "INSERT INTO incidents (cause, times, recovered_at) VALUES ('n8n_down', 1, now())")
    await destinations.pause("n8n", BY)
    await hours(database)
    await destinations.resume("n8n", BY)
    assert await expire(sweeps) == []

    await hours(database)
    assert await expire(sweeps) == [request_id]


async def test_silence_stands_still(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    request_id = await dispatched(requests, workers[0], speaks=True)
    generations = Generations(database, DEADLINES, POLICY)
    await destinations.pause("n8n", BY)
    await hours(database)
    assert await generations.end_quiet() == []

    await destinations.resume("n8n", BY)
    assert await generations.end_quiet() == []
    await hours(database)
    assert [each for each, _ in await generations.end_quiet()] == [request_id]


async def test_what_fails_in_flight_is_held_and_neither_opens_the_breaker_nor_alarms_anybody(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    """Operators pause what they are about to stop."""
    await accept(requests, 30)
    in_flight = await claim(workers[0])
    await destinations.pause("n8n", BY)
    ended = await settle(workers[0], Dead(AWAY, Fail(FailureCode.DISPATCH_FAILED, "away")), *in_flight)

    assert {type(outcome) for outcome in ended} == {Held}
    assert await rows(database, "SELECT failures, opened_at FROM destinations WHERE name = 'n8n'") == [(0, None)]
    assert await rows(database, "SELECT count(*) FROM incidents") == [(0,)]
    await destinations.resume("n8n", BY)
    assert {each.attempt for each in await claim(workers[0])} == {1}


async def test_what_is_refused_in_flight_ends_as_ever(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests)
    in_flight = await claim(workers[0])
    await destinations.pause("n8n", BY)
    refused = Dead(PermanentError("http_403", "no"), Fail(FailureCode.DISPATCH_FAILED, "no"))
    assert await settle(workers[0], refused, *in_flight) == [refused]
    assert await rows(database, "SELECT status FROM requests") == [("failed",)]


async def test_the_breaker_is_below_the_pause_what_it_was_and_a_late_success_closes_it(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests, 6)
    failing = await claim(workers[0], limit=5)
    await settle(workers[0], Retry(datetime.now(UTC), AWAY), *failing)
    await write(database, PROBE_DUE)
    [probe] = await claim(workers[0])
    await destinations.pause("n8n", BY)
    await settle(workers[0], Retry(datetime.now(UTC), AWAY), probe)
    [n8n, *_] = await destinations.overview()
    assert (n8n.state, n8n.away_since is None, n8n.probe_at) == (Availability.PAUSED, False, None)

    await destinations.resume("n8n", BY)
    [n8n, *_] = await destinations.overview()
    assert (n8n.state, n8n.since) == (Availability.OPEN, n8n.away_since)
    [probe] = await claim(workers[0])
    await destinations.pause("n8n", BY)
    await settle(workers[0], Done(Advance(Status.DISPATCHED)), probe)
    await destinations.resume("n8n", BY)
    [n8n, *_] = await destinations.overview()
    assert n8n.state is Availability.CLOSED


async def test_a_404_that_a_pause_interrupted_has_not_lasted_longer_by_it(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    gone = TransientError("http_404", "N8N answered 404.", http_status=404, away=True)
    await accept(requests, 5)
    await settle(workers[0], Retry(datetime.now(UTC), gone), *await claim(workers[0]))
    await destinations.pause("n8n", BY)
    await hours(database)
    await destinations.resume("n8n", BY)
    await settle(workers[0], Retry(datetime.now(UTC), gone), *await claim(workers[0]))

    assert await rows(database, "SELECT cause FROM incidents") == [("n8n_down",)]


async def test_an_error_that_lasts_is_no_incident_while_it_is_paused(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    gone = TransientError("http_404", "N8N answered 404.", http_status=404, away=True)
    await accept(requests, 6)
    await settle(workers[0], Retry(datetime.now(UTC), gone), *await claim(workers[0], limit=5))
    await write(database, PROBE_DUE)
    [probe] = await claim(workers[0])
    await write(database, "UPDATE destinations SET error_since = now() - interval '1 hour' WHERE name = 'n8n'")
    await destinations.pause("n8n", BY)
    await settle(workers[0], Retry(datetime.now(UTC), gone), probe)

    assert await rows(database, "SELECT cause FROM incidents") == [("n8n_down",)]


async def test_a_request_that_waits_says_so_and_keeps_its_status(
    database: Database, requests: Requests, destinations: ChangeableDestinations
) -> None:
    [request_id] = await accept(requests)
    await destinations.pause("n8n", BY)
    await hours(database, 3)
    hold = (await destinations.held([request_id]))[request_id]
    request = await requests.get(request_id)
    assert request is not None
    step = next_step(request, await Timelines(database).pending_work(request_id))

    assert (hold.destination, hold.is_paused, request.status) == ("n8n", True, Status.QUEUED)
    assert hold.since < datetime.now(UTC) < hold.until
    assert "paused" in step.what
    await destinations.resume("n8n", BY)
    assert await destinations.held([request_id]) == {}


async def test_a_request_at_a_paused_n8n_has_no_deadline_to_tell(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    for speaks in (True, False):
        request_id = await dispatched(requests, workers[0], speaks=speaks)
        await destinations.pause("n8n", BY)
        request = await requests.get(request_id)
        assert request is not None
        step = next_step(request, await Timelines(database).pending_work(request_id))
        await destinations.resume("n8n", BY)
        assert "N8N is paused" in step.what
        assert step.at is None


async def test_gauges_doctor_and_overview_do_not_count_the_backlog_of_a_pause_as_late(
    database: Database, requests: Requests, destinations: ChangeableDestinations
) -> None:
    await accept(requests, 2)
    await deliverable(requests, "north")
    await hours(database)
    reader, inspection = GaugeReader(database, BREAKERS), Inspection(database, BREAKERS)
    await destinations.pause("n8n", BY)
    await hours(database, 2)
    gauges, late = await reader.read(), {each.kind for each in await inspection.waiting()}
    assert (gauges.paused["n8n"], gauges.paused["odoo"], gauges.late["dispatch"]) == (1, 0, 0)
    assert gauges.pending["dispatch"] == 2
    assert gauges.late["deliver:north"] > 3600
    assert late == {"deliver:north"}

    await destinations.resume("n8n", BY)
    gauges, backlogs = await reader.read(), {each.kind: each.oldest_age for each in await inspection.waiting()}
    async with aclosing(Overview(database, BREAKERS)) as overview:
        facts = await overview.read()
    assert facts.late["n8n"] == pytest.approx(timedelta(hours=1), abs=timedelta(minutes=1))
    assert gauges.paused["n8n"] == 0
    assert gauges.late["dispatch"] == pytest.approx(3600, abs=60)
    assert backlogs["dispatch"] < timedelta(hours=1, minutes=1)


async def test_doctor_says_who_paused_what_and_how_to_resume_it(
    database: Database, requests: Requests, destinations: ChangeableDestinations
) -> None:
    await accept(requests, 2)
    await write(database, OPEN)
    subject = Subject(inspection=Inspection(database, BREAKERS))
    await destinations.pause("n8n", BY)
    await destinations.pause("odoo:north", OTHER)
    [n8n, north] = await look_at_destinations(subject)
    assert (n8n.mark, north.mark) == (Mark.WARNING, Mark.WARNING)
    assert all(text in n8n.found for text in ("N8N has been paused since", "by ops", str(BY.note), "wait: 2", "away"))
    assert "Odoo north" in north.found
    assert "aigen-bridge destinations resume n8n" in n8n.advice

    await destinations.resume("n8n", BY)
    await destinations.resume("odoo:north", BY)
    [away] = await look_at_destinations(subject)
    assert "has been away since" in away.found


async def test_a_pause_is_forgotten_when_nothing_waits_any_more_that_was_there_before_its_end(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await destinations.pause("n8n", BY)
    await destinations.resume("n8n", BY)
    await write(database, MONTH_LATER)
    await accept(requests)
    await write(database, "UPDATE outbox SET created_at = now() - interval '40 days'")
    await destinations.pause("n8n", BY)
    assert await rows(database, PAUSES) == [(0,), (31,)]

    await write(database, "UPDATE outbox SET created_at = now()")
    await destinations.resume("n8n", BY)
    await destinations.pause("n8n", BY)
    assert await rows(database, PAUSES) == [(0,), (0,)]


async def test_a_pause_without_its_record_can_be_ended(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests)
    await destinations.pause("n8n", BY)
    await write(database, "DELETE FROM destination_pauses")
    assert await destinations.resume("n8n", BY)
    assert len(await claim(workers[0])) == 1


async def test_the_first_of_two_operators_counts_and_both_are_told(
    database: Database, destinations: ChangeableDestinations
) -> None:
    assert await destinations.pause("odoo", BY)
    assert not await destinations.pause("odoo", OTHER)
    odoo = {each.name: each for each in await destinations.overview()}["odoo"]
    assert (odoo.paused_by, odoo.pause_reason) == ("ops", "N8N is being upgraded.")
    assert await destinations.resume("odoo", OTHER)
    assert not await destinations.resume("odoo", BY)

    recorded = await rows(database, "SELECT client, action, target, note, before, after FROM operations ORDER BY id")
    [paused, resumed] = recorded
    assert paused[:4] == ("ops", "pause", "destination odoo", "N8N is being upgraded.")
    assert paused[4:] == ({"paused": False}, {"paused": True, "reason": "N8N is being upgraded."})
    assert resumed[:4] == ("oidc:kim", "resume", "destination odoo", "Odoo is slow.")
    assert (resumed[4]["by"], resumed[5]) == ("ops", {"paused": False})


async def test_a_change_that_was_decided_on_an_older_state_changes_nothing(
    database: Database, destinations: ChangeableDestinations
) -> None:
    await destinations.pause("n8n", BY)
    [n8n, *_] = await destinations.overview()
    assert not await destinations.resume("n8n", OTHER, seen=datetime.now(UTC))
    assert await destinations.resume("n8n", OTHER, seen=n8n.since)
    assert not await destinations.limit("odoo", 3, OTHER, seen=2)
    assert await destinations.limit("odoo", 3, OTHER, seen=4)
    assert not await destinations.limit("n8n", 3, OTHER, seen=1)
    assert await destinations.limit("n8n", 3, OTHER, seen=None)
    assert await rows(database, "SELECT count(*) FROM operations") == [(4,)]


async def test_a_limit_holds_for_all_workers_together_at_once(
    requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    """N8N has none in the settings."""
    await accept(requests, 10)
    assert await destinations.limit("n8n", 3, BY)
    assert [len(await claim(worker)) for worker in workers] == [3, 0]
    assert (await workers[1].next_due("dispatch")).is_blocked

    assert await destinations.limit("n8n", 5, BY)
    assert len(await claim(workers[1])) == 2
    assert not await destinations.limit("n8n", 5, BY)
    assert await destinations.limit("n8n", None, BY)
    assert len(await claim(workers[1])) == 5


async def test_slow_answers_reduce_the_calls_below_the_limit_of_an_operator(
    database: Database, requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    for _ in range(12):
        await deliverable(requests, "default")
    await destinations.limit("odoo", 6, BY)
    claims = await claim(workers[0], "deliver")
    assert len(claims) == 6
    assert workers[0].limit("deliver") == 6  # above the setting, so the lane makes room
    slow = Settlement(claims[0], Retry(datetime.now(UTC), AWAY), timedelta(seconds=9))
    await workers[0].settle_all([slow])
    odoo = {each.name: each for each in await destinations.overview()}["odoo"]
    assert (odoo.concurrency, odoo.configured, odoo.allowance) == (6, 4, 3)

    await destinations.limit("odoo", 8, BY)  # another limit begins anew
    odoo = {each.name: each for each in await destinations.overview()}["odoo"]
    assert (odoo.concurrency, odoo.allowance) == (8, 8)
    await destinations.limit("odoo", 2, BY)
    odoo = {each.name: each for each in await destinations.overview()}["odoo"]
    assert (odoo.concurrency, odoo.allowance) == (2, 2)


async def test_the_overview_of_one_odoo_counts_nothing_of_the_others(
    requests: Requests, workers: list[Outbox], destinations: ChangeableDestinations
) -> None:
    await accept(requests, 3)
    await accept(requests, 2, odoo="north")
    await deliverable(requests, "north")
    await claim(workers[0], limit=5)
    everything = {each.name: (each.backlog, each.in_flight) for each in await destinations.overview()}
    north = {each.name: (each.backlog, each.in_flight) for each in await destinations.overview("north")}

    assert everything == {"n8n": (5, 5), "odoo": (0, 0), "odoo:north": (1, 0)}
    assert north == {"n8n": (2, 2), "odoo:north": (1, 0)}
