"""The generation of a request in PostgreSQL: one grant at a time, the first job wins, silence is answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ContradictionError, UnknownRequestError
from aigen_bridge.domain.generation import (
    Ask,
    Decision,
    GenerationPolicy,
    NamedJob,
    Progress,
    ProgressReport,
    ProviderJob,
    Stage,
    State,
    WhenMaybePaid,
)
from aigen_bridge.domain.outbox import Advance, Claim, Done, Settlement
from aigen_bridge.domain.request import ImageRequest, NewRequest, Status, Step
from aigen_bridge.domain.timeline import GenerationRecord, TransitionRecord
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.store.database import Database
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.restoration import Restoration
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from outages import write

DEADLINES = Deadlines(timedelta(minutes=10), timedelta(minutes=5))
JOB = ProviderJob(provider="fal", job_id="job-1", status_url="https://queue.test/1/status")
OTHER_JOB = ProviderJob(provider="fal", job_id="job-2")


@dataclass
class Ground:
    """A store with one request, which N8N has acknowledged."""

    database: Database
    request: NewRequest
    policy: GenerationPolicy = field(default_factory=GenerationPolicy)

    @property
    def request_id(self) -> UUID:
        return self.request.request_id

    @property
    def generations(self) -> Generations:
        return Generations(self.database, DEADLINES, self.policy)

    async def ask(self, execution_id: str = "first", **more: Any) -> Decision | None:
        asked = Ask(correlation_id=self.request.correlation_id, execution_id=execution_id, **more)
        return (await self.generations.ask(self.request_id, asked)).decision

    async def name(self, job: ProviderJob = JOB, execution_id: str = "first") -> bool:
        """Names a job. Returns whether it is another one than the known."""
        named = NamedJob(correlation_id=self.request.correlation_id, execution_id=execution_id, job=job)
        return (await self.generations.name_job(self.request_id, named)).is_other_job

    async def progress(self, **more: Any) -> bool:
        report = ProgressReport(
            correlation_id=self.request.correlation_id,
            execution_id="first",
            progress=Progress(stage=Stage.GENERATING, percent=40),
            **more,
        )
        return (await self.generations.report_progress(self.request_id, report)).wanted

    async def dispatch(self, *, speaks: bool = True) -> Claim:
        """Claims the dispatch, which N8N acknowledges."""
        outbox = Outbox(self.database, DEADLINES, PostgresImages(self.database), None, self.policy)
        [claim] = await outbox.claim(Step.DISPATCH, limit=1, lease=timedelta(minutes=1), owner="test")
        await outbox.settle(Settlement(claim, Done(Advance(Status.DISPATCHED, speaks=speaks)), timedelta(0)))
        return claim

    async def fall_silent(self) -> Sequence[tuple[UUID, str]]:
        """Ends the quiet time and sweeps, while the API has been there for long. Returns what happened to whom."""
        await write(self.database, "UPDATE generations SET quiet_until = quiet_until - interval '1 hour'")
        await self.beat_since("1 hour")
        return [(request_id, note) for request_id, note in await self.generations.end_quiet() if note]

    async def beat_since(self, ago: str) -> None:
        await self.generations.beat()
        await write(self.database, "UPDATE api_beats SET since = now() - CAST(:ago AS interval)", ago=ago)

    async def read(self) -> ImageRequest:
        found = await Requests(self.database, DEADLINES, PostgresImages(self.database)).get(self.request_id)
        assert found
        return found

    async def row(self, statement: str) -> Row[Any]:
        async with self.database.reading() as connection:
            return (await connection.execute(text(statement))).one()

    async def quiet_seconds(self) -> float:
        row = await self.row("SELECT extract(epoch FROM quiet_until - now()) AS seconds FROM generations")
        return float(row.seconds)


@pytest.fixture
async def ground(database: Database) -> Ground:
    new = NewRequest(uuid4(), uuid4(), {"prompt": "a lighthouse"})
    await Requests(database, DEADLINES, PostgresImages(database)).accept(new)
    return Ground(database, new)


async def test_an_ask_that_overtakes_the_acknowledgement_moves_the_request_on(ground: Ground) -> None:
    decision = await ground.ask(key="k")
    entry = await ground.row("SELECT state FROM outbox")

    assert (decision, (await ground.read()).status, entry.state) == (Decision.START, Status.DISPATCHED, "superseded")
    assert 140 < await ground.quiet_seconds() <= 150


async def test_one_execution_has_the_grant_and_others_wait(ground: Ground) -> None:
    await ground.dispatch()
    decisions = [await ground.ask(key="k"), await ground.ask(key="k"), await ground.ask(key="l")]
    decisions.append(await ground.ask("second", key="k"))

    assert decisions == [Decision.START, Decision.START, Decision.WAIT, Decision.WAIT]


async def test_the_first_named_job_wins_and_every_job_is_recorded(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    others = [await ground.name(), await ground.name()]
    others += [await ground.name(OTHER_JOB, "second") for _ in range(2)]  # the first answer was lost
    jobs = await ground.row("SELECT count(*), count(*) FILTER (WHERE is_other) AS others FROM provider_jobs")

    told = await ground.row("SELECT count(*) FROM generation_changes WHERE note LIKE '%another job%'")

    assert (others, tuple(jobs), told.count) == ([False, False, True, True], (2, 1), 1)
    assert await ground.ask("third") is Decision.RESUME
    view = (await ground.generations.find([ground.request_id]))[ground.request_id]
    assert view.job == JOB


async def test_progress_is_kept_and_extends_the_quiet_time(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    wanted = await ground.progress(quiet_for=timedelta(minutes=5))
    view = (await ground.generations.find([ground.request_id]))[ground.request_id]

    assert wanted
    assert view.progress
    assert (view.progress.stage, view.progress.percent) == (Stage.GENERATING, 40)
    assert 290 < await ground.quiet_seconds() <= 300


async def test_a_silent_execution_is_resumed_with_its_job_and_the_silence_doubles(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    told = await ground.fall_silent()
    claim = await ground.dispatch()

    assert [request_id for request_id, _ in told] == [ground.request_id]
    assert claim.job == JOB
    assert 50 < await ground.quiet_seconds() <= 60
    assert (await ground.read()).status is Status.DISPATCHED


async def test_a_request_is_resumed_only_so_often(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    for _ in range(ground.policy.resumes):
        assert await ground.fall_silent()
        await ground.dispatch()

    assert not await ground.fall_silent()
    assert (await ground.read()).status is Status.DISPATCHED


async def test_a_word_of_an_execution_that_was_only_silent_ends_the_resume_uncounted(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    await ground.fall_silent()
    await ground.progress()
    found = await ground.row("SELECT resumes, is_resuming FROM generations")

    assert (await ground.read()).status is Status.DISPATCHED
    assert tuple(found) == (0, False)


async def test_a_grant_without_a_job_is_given_once_more_and_then_the_request_fails(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    first = await ground.fall_silent()
    await ground.dispatch()
    again = await ground.ask("second")
    await ground.fall_silent()
    failed = await ground.read()

    assert "may have been paid for" in first[0][1]
    assert again is Decision.START
    assert (failed.status, failed.error_code) == (Status.FAILED, "maybe_paid")
    assert await ground.ask("third") is Decision.STOP
    assert (await ground.row("SELECT doubts FROM generations")).doubts == 2


async def test_a_doubt_is_recorded_with_its_time_even_if_another_grant_follows_at_once(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.fall_silent()
    told = await Timelines(ground.database).read(ground.request_id)
    doubt, again = told[-2:]

    assert isinstance(doubt, GenerationRecord)
    assert isinstance(again, TransitionRecord)
    assert (doubt.state, again.status) == (State.DOUBTFUL, Status.QUEUED)
    assert doubt.note == "the image may have been paid for: N8N execution first named no job"
    assert (await ground.row("SELECT state FROM generations")).state == "none"


async def test_the_timeline_knows_when_n8n_counts_as_silent_by_its_own_clock(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await write(ground.database, "UPDATE destinations SET out_seconds = 600 WHERE name = 'n8n'")
    await write(ground.database, "UPDATE generations SET quiet_until = quiet_until - interval '590 seconds'")
    pending = (await Timelines(ground.database).pending_work(ground.request_id)).generation

    assert pending
    assert pending.silent_at
    assert (pending.generation.state, pending.is_n8n_out) == (State.GRANTED, False)
    assert 150 < (pending.silent_at - datetime.now(UTC)).total_seconds() <= 160


async def test_a_request_that_may_have_been_paid_for_is_not_sent_again_when_the_settings_say_stop(
    ground: Ground,
) -> None:
    ground.policy = GenerationPolicy(when_maybe_paid=WhenMaybePaid.STOP)
    await ground.dispatch()
    await ground.ask()
    await ground.fall_silent()

    assert (await ground.read()).error_code == "maybe_paid"


async def test_an_acknowledged_execution_that_never_asks_is_silent_from_the_start(ground: Ground) -> None:
    await ground.dispatch()
    quiet = await ground.quiet_seconds()
    told = await ground.fall_silent()

    assert 110 < quiet <= 120
    assert told
    assert (await ground.read()).status is Status.QUEUED


async def test_a_workflow_that_does_not_speak_the_protocol_is_left_to_the_deadline(ground: Ground) -> None:
    await ground.dispatch(speaks=False)

    assert not await ground.fall_silent()
    assert (await ground.read()).status is Status.DISPATCHED


async def test_silence_counts_only_once_the_api_has_been_there_for_one_silence(ground: Ground) -> None:
    await ground.dispatch()
    await write(ground.database, "UPDATE generations SET quiet_until = now() - interval '1 second'")
    without_api = await ground.generations.end_quiet()
    await ground.beat_since("1 hour")
    await write(ground.database, "UPDATE api_beats SET at = now() - interval '4 seconds'")
    without_api += await ground.generations.end_quiet()
    await ground.beat_since("10 seconds")
    too_soon = await ground.generations.end_quiet()
    await write(ground.database, "UPDATE api_beats SET at = now() - interval '1 minute'")
    await ground.beat_since("1 hour")
    await write(ground.database, "UPDATE api_beats SET at = now() - interval '1 minute'")
    await ground.generations.beat()
    after_a_gap = await ground.generations.end_quiet()
    await ground.beat_since("1 minute")

    assert (without_api, too_soon, after_a_gap) == ([], [], [])
    assert await ground.generations.end_quiet()


async def test_silence_stands_still_while_n8n_is_out(ground: Ground) -> None:
    await ground.dispatch()
    await ground.beat_since("1 hour")
    await write(
        ground.database,
        "UPDATE destinations SET opened_at = now() - interval '10 minutes', probe_at = now() WHERE name = 'n8n'",
    )
    await write(ground.database, "UPDATE generations SET quiet_until = now() - interval '5 minutes'")
    during = await ground.generations.end_quiet()
    await write(
        ground.database,
        "UPDATE destinations SET out_seconds = 600, opened_at = NULL, probe_at = NULL",
    )
    after = await ground.generations.end_quiet()
    await write(ground.database, "UPDATE generations SET quiet_until = now() - interval '11 minutes'")

    assert (during, after) == ([], [])
    assert await ground.generations.end_quiet()


async def test_a_request_does_not_time_out_while_n8n_is_out_before_its_silence_could_count(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    sweeps = Sweeps(ground.database, DEADLINES)
    await write(ground.database, "UPDATE requests SET callback_deadline_at = now() - interval '1 minute'")
    await write(
        ground.database,
        "UPDATE destinations SET opened_at = now() - interval '1 minute', probe_at = now() WHERE name = 'n8n'",
    )
    await write(ground.database, "INSERT INTO incidents (cause, times) VALUES ('n8n_down', 1)")
    during = await sweeps.expire(lambda request_id: timed_out(request_id, DEADLINES.callback))
    await write(ground.database, "UPDATE destinations SET out_seconds = 60, opened_at = NULL, probe_at = NULL")
    await write(ground.database, "UPDATE incidents SET recovered_at = now()")
    after = await sweeps.expire(lambda request_id: timed_out(request_id, DEADLINES.callback))
    resumed = await ground.fall_silent()
    await ground.dispatch()
    await write(ground.database, "UPDATE requests SET callback_deadline_at = now() - interval '1 minute'")
    await write(ground.database, "UPDATE incidents SET recovered_at = now() - interval '11 minutes'")

    assert (during, after, len(resumed)) == ([], [], 1)
    assert await sweeps.expire(lambda request_id: timed_out(request_id, DEADLINES.callback)) == [ground.request_id]


async def test_a_refused_submission_gives_the_grant_back_twice(ground: Ground) -> None:
    await ground.dispatch()
    decisions = [await ground.ask(key="0")]
    for key in "123":
        decisions.append(await ground.ask(key=key, no_job=True))
        decisions.append(await ground.ask(key=key, no_job=True))  # its answer was lost

    start, stop = Decision.START, Decision.STOP
    assert decisions == [start, start, start, start, start, stop, stop]


async def test_a_job_that_ended_unbilled_permits_another(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    decision = await ground.ask(key="k", ended_job=JOB.job_id)
    late = await ground.name()
    ended = await ground.row("SELECT ended_at IS NOT NULL AS has_ended FROM provider_jobs")

    assert (decision, late, ended.has_ended) == (Decision.START, False, True)
    assert await ground.ask("second") is Decision.WAIT


async def test_a_cancelled_request_is_not_generated(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await write(ground.database, "UPDATE requests SET status = 'cancelled', completed_at = now()")
    await ground.name()

    assert await ground.ask("second") is Decision.STOP
    assert not await ground.progress()
    assert not await ground.fall_silent()
    assert (await ground.row("SELECT count(*) FROM provider_jobs")).count == 1


async def test_a_replayed_request_keeps_its_job_and_resumes_begin_again(ground: Ground) -> None:
    await ground.dispatch()
    await ground.ask()
    await ground.name()
    await ground.fall_silent()
    await ground.dispatch()
    await write(ground.database, "UPDATE requests SET callback_deadline_at = now() - interval '1 second'")
    await Sweeps(ground.database, DEADLINES).expire(lambda request_id: timed_out(request_id, DEADLINES.callback))
    operations = Operations(ground.database, DEADLINES, PostgresImages(ground.database))
    await operations.replay_request(ground.request_id, OperatorAction("ops"))
    claim = await ground.dispatch()
    found = await ground.row("SELECT state, resumes FROM generations")

    assert claim.job == JOB
    assert tuple(found) == ("running", 0)


async def test_a_request_that_failed_as_maybe_paid_may_be_paid_for_once_a_person_replays_it(ground: Ground) -> None:
    ground.policy = GenerationPolicy(when_maybe_paid=WhenMaybePaid.STOP)
    await ground.dispatch()
    await ground.ask()
    await ground.fall_silent()
    operations = Operations(ground.database, DEADLINES, PostgresImages(ground.database))
    await operations.replay_request(ground.request_id, OperatorAction("ops"))
    await ground.dispatch()

    assert await ground.ask("second") is Decision.START


async def test_a_restored_request_without_a_job_is_doubtful(ground: Ground) -> None:
    await ground.dispatch()
    restoration = Restoration(ground.database, DEADLINES)
    for _ in range(2):
        await restoration.lift(100, None, is_open=True, delay=timedelta(0), spacing=timedelta(0))
    waiting = await ground.ask()
    told = await ground.fall_silent()
    await ground.dispatch()

    assert waiting is Decision.WAIT
    assert "may have been paid for" in told[0][1]
    assert await ground.ask("second") is Decision.START


async def test_a_request_that_cannot_be_read_holds_up_no_other(ground: Ground) -> None:
    await ground.dispatch()
    unreadable = uuid4()
    await write(
        ground.database,
        "INSERT INTO requests (request_id, correlation_id, event, status, image)"
        " VALUES (:id, :id, '{}', 'dispatched', '{\"unknown\": 1}')",
        id=unreadable,
    )
    await write(ground.database, "INSERT INTO generations (request_id, quiet_until) VALUES (:id, now())", id=unreadable)
    told = await ground.fall_silent()
    row = await ground.row("SELECT count(*) FROM generations WHERE quiet_until IS NOT NULL")

    assert ([request_id for request_id, _ in told], row.count) == ([ground.request_id], 0)


async def test_unknown_requests_and_other_correlation_ids_are_refused(ground: Ground) -> None:
    stranger = Ask(correlation_id=uuid4(), execution_id="first")
    with pytest.raises(UnknownRequestError):
        await ground.generations.ask(uuid4(), stranger)
    with pytest.raises(ContradictionError):
        await ground.generations.ask(ground.request_id, stranger)
