"""A destination that only this test knows: one entry in the registry, and everything else about it is derived."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from aigen_bridge import wiring
from aigen_bridge.doctor.destinations import look_at_destinations
from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.destination import DESTINATIONS, BreakerConfig, Destination, with_breaker
from aigen_bridge.domain.errors import StepError, TransientError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.outbox import Claim, Complete, Effect, Fail
from aigen_bridge.domain.request import (
    AwaitedImage,
    FailureCode,
    NewRequest,
    Status,
    Step,
    VersionedTransition,
)
from aigen_bridge.domain.retry import Policy
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.settings import WorkerSettings
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import Destinations, DestinationState
from aigen_bridge.store.gauges import GaugeReader
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker.lanes import Lane
from outages import rows, write
from scrape import read, scrape
from stage import KEYS, REQUESTS, make_event, make_settings, serve_api

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
ARCHIVE = Destination("archive", "the picture archive", Step.FETCH, outage=Cause.IMAGE_FETCH_FAILED)
BREAKER = BreakerConfig(failures=3, probe_every=timedelta(minutes=1), hold=timedelta(minutes=10))
BREAKERS = {ARCHIVE: BREAKER}
POLICY = Policy(waits=(timedelta(milliseconds=50),) * 20)
PROBE_DUE = "UPDATE destinations SET probe_at = now() WHERE name = 'archive'"
CLOSE = "UPDATE destinations SET failures = 0, opened_at = NULL, probe_at = NULL"
HELD = 4


@dataclass
class FetchFromArchive:
    """The step that calls the archive: it fails while there is no image."""

    image: CheckedImage | None = None
    concurrency: int = 10
    policy: Policy = POLICY
    step: Step = Step.FETCH

    async def run(self, claim: Claim) -> Effect:  # noqa: ARG002 - every request gets the same answer
        if self.image is None:
            raise TransientError("archive_away", "The archive does not answer.")
        return Complete(self.image)

    def gave_up(self, error: StepError) -> Effect:
        return Fail(FailureCode.IMAGE_FETCH_FAILED, error.detail)


@dataclass
class Outage:
    """The archive is away, and these requests wait for it; no worker runs."""

    requests: list[UUID]
    runner: FetchFromArchive
    outbox: Outbox


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive takes the place of the image hosts."""
    monkeypatch.delitem(DESTINATIONS, "image")
    monkeypatch.setitem(DESTINATIONS, ARCHIVE.name, ARCHIVE)


@pytest.fixture
async def outage(registered: None, database: Database) -> Outage:
    """A worker met the archive's silence until the breaker opened, and has stopped."""
    runner, outbox = FetchFromArchive(), Outbox(database, DEADLINES, PostgresImages(database), BREAKERS)
    requests = await received(database, HELD)
    async with working(runner, outbox), asyncio.timeout(20):
        while not (await state(database)).opened_at:
            await asyncio.sleep(0.02)
    return Outage(requests, runner, outbox)


@asynccontextmanager
async def working(runner: FetchFromArchive, outbox: Outbox) -> AsyncIterator[None]:
    """A lane of a worker, as for every step."""
    stop, lane = asyncio.Event(), Lane(runner, outbox, WorkerSettings(poll=timedelta(milliseconds=50)))
    task = asyncio.create_task(lane.run(stop))
    try:
        yield
    finally:
        stop.set()
        lane.wake.set()
        await task


async def received(database: Database, count: int) -> list[UUID]:
    """Requests whose images are to be fetched."""
    requests = Requests(database, DEADLINES, PostgresImages(database))
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await requests.accept_all(wanted)
    awaited = AwaitedImage(format="png", size=1, width=1, height=1, sha256="00", url="https://archive.example/1")
    for new in wanted:
        before = frozenset({Status.QUEUED})
        moved = VersionedTransition(
            request_id=new.request_id, version=1, before=before, after=Status.RECEIVED, awaited=awaited
        )
        assert await requests.apply_versioned(moved)
    return [new.request_id for new in wanted]


async def state(database: Database) -> DestinationState:
    return next(s for s in await Destinations(database).states() if s.destination == ARCHIVE)


async def due_fetches(database: Database) -> int:
    """The due entries that no outage explains."""
    return sum(backlog.count for backlog in await Inspection(database).waiting() if backlog.kind == "fetch")


async def test_its_row_is_made_on_demand_and_its_breaker_opens_with_its_incident(
    outage: Outage, database: Database
) -> None:
    stored = await rows(database, "SELECT name, opened_at IS NOT NULL, error_code FROM destinations ORDER BY name")

    assert stored == [("archive", True, "archive_away"), ("n8n", False, None), ("odoo", False, None)]
    assert await rows(database, "SELECT cause, recovered_at FROM incidents") == [("image_fetch_failed", None)]


@pytest.mark.usefixtures("registered")
async def test_before_its_first_failure_it_has_no_row_and_counts_as_well(database: Database) -> None:
    names = [state.destination.name for state in await Destinations(database).states()]

    assert names == ["archive", "n8n", "odoo"]
    assert await rows(database, "SELECT FROM destinations WHERE name = 'archive'") == []
    assert (await state(database)).opened_at is None
    assert await Inspection(database).waiting() == []


async def test_what_waits_for_it_is_counted_and_named_for_each_request(outage: Outage, database: Database) -> None:
    found = await state(database)
    holds = await Destinations(database, BREAKERS).held(outage.requests)

    assert (found.held, found.failures >= BREAKER.failures) == (HELD, True)
    assert holds.keys() == set(outage.requests)
    assert {hold.destination for hold in holds.values()} == {ARCHIVE.name}
    assert all(hold.since < hold.until <= hold.since + BREAKER.hold for hold in holds.values())


async def test_the_timeline_says_that_its_destination_is_away(outage: Outage, database: Database) -> None:
    [entry] = (await Timelines(database).pending_work(outage.requests[0])).entries

    assert (entry.step, entry.destination_is_away) == (Step.FETCH, True)
    assert entry.probe_at == (await state(database)).probe_at


async def test_held_entries_do_not_count_as_waiting_for_a_worker(outage: Outage, database: Database) -> None:
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 second' WHERE step = 'fetch'")
    held = await due_fetches(database)
    await write(database, CLOSE)
    closed = await due_fetches(database)

    assert (held, closed) == (0, len(outage.requests))


async def test_doctor_names_it_by_its_label(outage: Outage, database: Database) -> None:
    subject = Subject(inspection=Inspection(database))
    [away] = await look_at_destinations(subject)
    await write(database, CLOSE)
    [well] = await look_at_destinations(subject)

    assert (away.mark, well.mark) == (Mark.WARNING, Mark.OK)
    assert f"{ARCHIVE.label} has been away" in away.found
    assert f"held: {len(outage.requests)}" in away.found
    assert ARCHIVE.label in well.found


async def test_the_gauges_read_its_breaker(outage: Outage, database: Database) -> None:
    gauges = await GaugeReader(database).read()

    assert list(gauges.open_breakers) == [ARCHIVE.name]
    assert gauges.open_breakers[ARCHIVE.name] >= 0
    assert gauges.failures == {"n8n": 0, "odoo": 0, ARCHIVE.name: (await state(database)).failures}
    assert gauges.pending["fetch"] == len(outage.requests)


async def test_the_api_shows_it_in_readiness_in_metrics_and_at_the_request(
    outage: Outage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "_breakers", lambda _: dict.fromkeys(with_breaker(), BREAKER))
    key = {"X-API-Key": KEYS["ops"]}
    async with serve_api(make_settings(database_url)) as api:
        ready = (await api.get("/health/ready")).json()["destinations"]
        metrics = await scrape(api)
        request = (await api.get(f"{REQUESTS}/{outage.requests[0]}", headers=key)).json()
        timeline = (await api.get(f"{REQUESTS}/{outage.requests[0]}/timeline", headers=key)).json()

    assert {name: (found["state"], found["held"]) for name, found in ready.items()} == {
        "archive": ("out", HELD),
        "n8n": ("ok", 0),
        "odoo": ("ok", 0),
    }
    assert metrics.value("aigen_breaker_open", destination="archive") == 1
    assert metrics.value("aigen_breaker_open", destination="n8n") == 0
    assert request["held"]["destination"] == "archive"
    assert "its destination is away" in timeline["next"]["what"]


async def test_one_success_closes_it_ends_its_incident_and_sends_what_was_held(
    outage: Outage, database: Database, png: bytes
) -> None:
    with closing(ImageCheck()) as check:
        outage.runner.image = await check.as_found(png)
    await write(database, PROBE_DUE)
    async with working(outage.runner, outage.outbox), asyncio.timeout(20):
        while await rows(database, "SELECT FROM requests WHERE status = 'received'"):
            await asyncio.sleep(0.02)
    found = await state(database)

    assert (found.opened_at, found.failures, found.held) == (None, 0, 0)
    assert await rows(database, "SELECT status, count(*) FROM requests GROUP BY status") == [("completed", HELD)]
    assert await rows(database, "SELECT cause FROM incidents WHERE recovered_at IS NULL") == []
    assert await rows(database, "SELECT count(*) FROM incidents") == [(1,)]
    assert await Destinations(database, BREAKERS).held(outage.requests) == {}


async def test_other_destinations_are_called_while_it_is_away(outage: Outage, database: Database) -> None:
    new = NewRequest(uuid4(), uuid4(), make_event())
    await Requests(database, DEADLINES, PostgresImages(database)).accept_all([new])
    lease = timedelta(minutes=1)

    assert await outage.outbox.claim(Step.FETCH, limit=10, lease=lease, owner="test") == []
    assert len(await outage.outbox.claim(Step.DISPATCH, limit=10, lease=lease, owner="test")) == 1


@pytest.mark.usefixtures("registered")
async def test_its_limit_of_calls_in_flight_holds_over_all_workers(database: Database) -> None:
    limited = {ARCHIVE: BreakerConfig(concurrency_limit=3)}
    workers = [Outbox(database, DEADLINES, PostgresImages(database), limited) for _ in range(3)]
    await received(database, 10)
    lease = timedelta(minutes=1)
    claims = await asyncio.gather(*(w.claim(Step.FETCH, limit=2, lease=lease, owner="test") for w in workers))

    assert sum(map(len, claims)) == 3
    assert (await workers[0].next_due(Step.FETCH)).is_blocked


async def test_one_that_is_no_longer_registered_holds_nothing(
    outage: Outage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 second' WHERE step = 'fetch'")
    monkeypatch.delitem(DESTINATIONS, ARCHIVE.name)

    assert [s.destination.name for s in await Destinations(database).states()] == ["n8n", "odoo"]
    assert await Destinations(database, {}).held(outage.requests) == {}
    assert await due_fetches(database) == len(outage.requests)
    assert (await GaugeReader(database).read()).open_breakers == {}


IMPORT_WITH_IT = """
from aigen_bridge.domain.destination import DESTINATIONS, Destination
from aigen_bridge.domain.request import Step
DESTINATIONS["archive"] = Destination("archive", "the picture archive", Step.FETCH)
from aigen_bridge import metrics
print(metrics.as_text().decode())
"""


def test_every_registered_destination_has_its_series_at_zero_from_the_start() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_IT], capture_output=True, text=True, timeout=60, check=True
    )
    found = read(printed.stdout)

    assert {"archive", *DESTINATIONS} == {
        labels["destination"]
        for name, labels in ((name, dict(pairs)) for name, pairs in found.samples)
        if name == "aigen_outbound_calls_total"
    }
    for destination in ("archive", *DESTINATIONS):
        ok = {"destination": destination, "outcome": "ok", "error_class": "none"}
        assert found.value("aigen_outbound_calls_total", **ok) == 0
        assert found.value("aigen_outbound_call_seconds_count", destination=destination) == 0
        assert found.total("aigen_outbound_calls_total", destination=destination, outcome="error") == 0


def test_every_destination_with_an_outage_has_a_breaker_and_a_step_of_its_own() -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:9/none")

    assert wiring._breakers(settings).keys() == set(with_breaker())
    assert len({destination.step for destination in DESTINATIONS.values()}) == len(DESTINATIONS)
