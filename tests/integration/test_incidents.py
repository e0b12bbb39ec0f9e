"""Incidents as the store keeps them: folded by cause, however many note them at once."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.outbox import AlertClaim, Done, Notified, Settlement
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.alerts import Alerts
from aigen_bridge.store.database import Database

WINDOW = timedelta(minutes=15)
CAUSES = [Cause.DISPATCH_FAILED, Cause.N8N_DOWN]


@pytest.fixture
def alerts(database: Database) -> Alerts:
    return Alerts(database, WINDOW)


async def note(database: Database, *causes: Cause, window: timedelta = WINDOW) -> None:
    async with database.transaction() as connection:
        occurrences = [Occurrence(cause, "It failed.", uuid4()) for cause in causes]
        await incidents.record(connection, occurrences, window)


async def recover(database: Database, *causes: Cause) -> None:
    async with database.transaction() as connection:
        await incidents.recover(connection, *causes)


async def claim(alerts: Alerts) -> list[AlertClaim]:
    return await alerts.claim(Step.ALERT, limit=10, lease=timedelta(seconds=60), owner="test")


async def tell(alerts: Alerts) -> AlertClaim:
    """Claim the one alert that is due, and settle it as told."""
    [claimed] = await claim(alerts)
    over = claimed.incident.recovered_at is not None
    told = Notified(claimed.incident.times, recovered=over)
    await alerts.settle_all([Settlement(claimed, Done(told), timedelta(0))])
    return claimed


async def due(database: Database) -> list[float]:
    """In how many seconds the pending alerts are due."""
    query = "SELECT extract(epoch FROM due_at - now()) FROM outbox WHERE state = 'pending' ORDER BY due_at"
    async with database.reading() as connection:
        return [float(seconds) for seconds in (await connection.execute(text(query))).scalars()]


async def test_an_incident_is_told_at_once_and_what_follows_as_one_digest(database: Database, alerts: Alerts) -> None:
    await note(database, Cause.TIMED_OUT)
    first = await tell(alerts)
    for _ in range(3):
        await note(database, Cause.TIMED_OUT)

    assert (first.incident.times, first.incident.notified_times) == (1, 0)
    [digest] = await due(database)
    assert 0.9 * WINDOW.total_seconds() < digest <= WINDOW.total_seconds()
    assert await claim(alerts) == []


async def test_what_happens_while_people_are_being_told_is_told_later(database: Database, alerts: Alerts) -> None:
    await note(database, Cause.TIMED_OUT)
    [claimed] = await claim(alerts)
    await note(database, Cause.TIMED_OUT)
    await alerts.settle_all([Settlement(claimed, Done(Notified(1, recovered=False)), timedelta(0))])

    assert len(await due(database)) == 1


async def test_what_recovers_while_people_are_being_told_is_told_at_once(database: Database, alerts: Alerts) -> None:
    await note(database, Cause.N8N_DOWN)
    [claimed] = await claim(alerts)
    await recover(database, Cause.N8N_DOWN)
    await alerts.settle_all([Settlement(claimed, Done(Notified(1, recovered=False)), timedelta(0))])
    over = await tell(alerts)

    assert over.incident.recovered_at is not None
    assert await due(database) == []


async def test_a_recovery_is_told_at_once_together_with_what_the_digest_would_have_said(
    database: Database, alerts: Alerts
) -> None:
    await note(database, Cause.N8N_DOWN)
    await tell(alerts)
    await note(database, Cause.N8N_DOWN)
    await recover(database, Cause.N8N_DOWN)
    over = await tell(alerts)

    assert (over.incident.times, over.incident.notified_times) == (2, 1)
    assert over.incident.recovered_at is not None
    assert await due(database) == []


async def test_what_happens_again_soon_after_its_recovery_is_the_same_incident(
    database: Database, alerts: Alerts
) -> None:
    await note(database, Cause.N8N_DOWN)
    first = await tell(alerts)
    await recover(database, Cause.N8N_DOWN)
    await tell(alerts)
    await note(database, Cause.N8N_DOWN)
    async with database.reading() as connection:
        rows = (await connection.execute(text("SELECT id, times, recovered_at, told_over FROM incidents"))).all()

    assert [tuple(row) for row in rows] == [(first.incident.id, 2, None, False)]
    assert len(await due(database)) == 1


async def test_what_happens_long_after_its_recovery_is_a_new_incident(database: Database, alerts: Alerts) -> None:
    await note(database, Cause.N8N_DOWN)
    first = await tell(alerts)
    await recover(database, Cause.N8N_DOWN)
    await tell(alerts)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE incidents SET recovered_at = recovered_at - interval '1 hour'"))
    await note(database, Cause.N8N_DOWN)
    second = await tell(alerts)

    assert second.incident.id != first.incident.id
    assert (second.incident.times, second.incident.recovered_at) == (1, None)


async def test_only_what_was_quiet_for_a_window_is_over_by_itself(database: Database, alerts: Alerts) -> None:
    await note(database, Cause.TIMED_OUT, Cause.DISPATCH_FAILED, Cause.N8N_DOWN)
    async with database.transaction() as connection:
        quiet = "UPDATE incidents SET seen_at = now() - interval '1 hour' WHERE cause <> 'timed_out'"
        await connection.execute(text(quiet))
    await alerts.end_quiet_incidents()
    async with database.reading() as connection:
        over = (await connection.execute(text("SELECT cause FROM incidents WHERE recovered_at IS NOT NULL"))).scalars()

    assert list(over) == ["dispatch_failed"]  # N8N's breaker ends the other one


async def test_noting_recovering_and_telling_at_once_neither_deadlock_nor_collide(
    database: Database, alerts: Alerts
) -> None:
    """A transaction may note one cause early and another one at its end, in whichever order."""

    async def noting(first: Cause, second: Cause) -> None:
        async with database.transaction() as connection:
            await incidents.record(connection, [Occurrence(first, "early")], WINDOW)
            await asyncio.sleep(0.01)
            await incidents.record(connection, [Occurrence(second, "late")], WINDOW)

    for _ in range(10):
        await asyncio.gather(
            *(noting(*CAUSES) for _ in range(2)),
            *(noting(*CAUSES[::-1]) for _ in range(2)),
            recover(database, *CAUSES),
            alerts.settle_all([Settlement(c, Done(Notified(c.incident.times, recovered=False)), timedelta(0))])
            if (c := next(iter(await claim(alerts)), None))
            else asyncio.sleep(0),
        )
    async with database.reading() as connection:
        row = (
            await connection.execute(text("SELECT sum(times), (SELECT count(*) FROM occurrences) FROM incidents"))
        ).one()
    assert tuple(row) == (80, 80)


async def test_the_hour_for_telling_begins_when_an_alert_is_first_due(database: Database, alerts: Alerts) -> None:
    """A digest waits for its window before its first try; that time is not part of the hour."""
    await note(database, Cause.N8N_DOWN)
    await tell(alerts)
    await note(database, Cause.N8N_DOWN)
    async with database.reading() as connection:
        began, first_due = (
            await connection.execute(text("SELECT created_at, due_at FROM outbox WHERE state = 'pending'"))
        ).one()
    assert began == first_due

    await recover(database, Cause.N8N_DOWN)  # is told at once, and its hour begins now
    [claimed] = await claim(alerts)
    assert isinstance(claimed.began_at, datetime)
    assert claimed.claimed_at - claimed.began_at < timedelta(minutes=1)
    assert claimed.began_at <= claimed.claimed_at
