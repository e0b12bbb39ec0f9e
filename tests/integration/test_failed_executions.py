"""N8N reports an execution as failed: its request is found by the execution's id and does not wait for the deadline."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from test_n8n_failures import DEAD_LETTERS, letters, replay, report, tell, undelivered

from aigen_bridge.domain.execution import RESENDS_MAX, never_started
from aigen_bridge.domain.request import Status, Transition
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed
from callbacks import report as call_back
from stage import REQUESTS, Stage

CRASH = "Workflow did not finish, possible out-of-memory issue"


@pytest.fixture
async def silent(stage: Stage) -> Stage:
    """An N8N that takes everything and reports nothing by itself."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    return stage


async def ask_wanted(stage: Stage, asked: dict[str, Any], execution_id: str, **query: str) -> httpx.Response:
    """As the workflow does when execution `execution_id` begins."""
    url = f"{REQUESTS}/{asked['requestId']}/wanted"
    params = {"executionId": execution_id} | query
    return await stage.api.get(url, params=params, headers=stage.as_client("n8n"))


async def crashed(stage: Stage, execution_id: str, **fields: Any) -> httpx.Response:
    """What N8N's error workflow reports when N8N finds an execution dead at its start."""
    told = {"executionId": execution_id, "errorMessage": CRASH, "node": "Ask the AI service"}
    return await tell(stage, report(**told | fields))


async def taken(stage: Stage, times: int = 1) -> None:
    """Wait until N8N has taken the webhook so many times."""
    async with asyncio.timeout(20):
        while len(stage.chain.n8n.calls.to("webhook")) < times:
            await asyncio.sleep(0.02)


async def dispatched(stage: Stage, times: int = 1) -> dict[str, Any]:
    """A request that N8N has taken, in execution `first` if nothing else is said."""
    asked = await stage.ask()
    await stage.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await ask_wanted(stage, asked, "first")
    await taken(stage, times)
    return asked


async def again(stage: Stage, asked: dict[str, Any], times: int) -> None:
    """Wait until the request was sent once more and is dispatched."""
    await taken(stage, times)
    await stage.until(asked["requestId"], lambda found: found["status"] == "dispatched")


async def version(stage: Stage, asked: dict[str, Any]) -> int:
    """2 once the request is dispatched, 4 once it was sent again. A report has its effect before it is answered."""
    return int((await stage.read(asked["requestId"]))["version"])


async def notes(stage: Stage, asked: dict[str, Any]) -> list[tuple[str, str | None]]:
    url = f"{REQUESTS}/{asked['requestId']}/timeline"
    entries = (await stage.api.get(url, headers=stage.as_client("odoo"))).json()["entries"]
    return [(e["status"], e.get("note")) for e in entries if "version" in e]


async def test_a_request_whose_execution_died_is_sent_again_at_once(silent: Stage) -> None:
    asked = await dispatched(silent)
    told = await crashed(silent, "first")
    await again(silent, asked, 2)

    assert told.status_code == 202
    assert told.json()["requestId"] == asked["requestId"]
    assert ("queued", "N8N lost execution first; sent again") in await notes(silent, asked)
    assert await letters(silent) == []


async def test_the_execution_that_replaces_it_delivers(silent: Stage, png: bytes) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first")
    await again(silent, asked, 2)
    await ask_wanted(silent, asked, "second")
    await call_back(silent, completed(asked, png))
    assert (await silent.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_a_late_callback_of_the_lost_execution_wins_and_the_next_one_is_told(silent: Stage, png: bytes) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first")
    await call_back(silent, completed(asked, png))
    ended = await silent.until_delivered(asked["requestId"])
    assert ended["status"] == "completed"
    assert (await ask_wanted(silent, asked, "second")).json()["wanted"] is False


async def test_the_same_report_again_sends_nothing_again(silent: Stage) -> None:
    """N8N repeats it while no answer comes, and at each of its starts as long as its log knows the execution."""
    asked = await dispatched(silent)
    first, *others = await asyncio.gather(*(crashed(silent, "first") for _ in range(4)))
    await again(silent, asked, 2)
    await ask_wanted(silent, asked, "second")
    late = await crashed(silent, "first", errorName="WorkflowCrashedError")
    assert {answer.json()["id"] for answer in (*others, late)} == {first.json()["id"]}
    assert await version(silent, asked) == 4


async def test_it_is_sent_again_twice_and_then_fails_at_once(silent: Stage) -> None:
    asked = await dispatched(silent)
    for number, execution in enumerate(["first", "second", "third"]):
        await ask_wanted(silent, asked, execution)
        await crashed(silent, execution)
        if number < RESENDS_MAX:
            await again(silent, asked, number + 2)
    ended = await silent.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "execution_lost")
    [letter] = await letters(silent, kind="n8n")
    assert letter["requestId"] == asked["requestId"]
    assert silent.chain.odoo.records[asked["requestId"]].error_code == "execution_lost"


async def test_a_bug_of_the_workflow_ends_the_request_at_once(silent: Stage) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first", errorMessage="x is not a function", errorName="TypeError")
    ended = await silent.until_delivered(asked["requestId"])
    [letter] = await letters(silent, kind="n8n")
    assert (ended["errorCode"], ended["errorMessage"]) == (
        "workflow_failed",
        "The image service failed: x is not a function",
    )
    assert letter["requestId"] == asked["requestId"]
    assert len(silent.chain.n8n.calls.to("webhook")) == 1


@pytest.mark.parametrize("message", ["x is not a function", CRASH])
async def test_replaying_the_dead_letter_sends_the_request_again(silent: Stage, png: bytes, message: str) -> None:
    asked = await dispatched(silent)
    for number, execution in enumerate(["first", "second", "third"]):
        await ask_wanted(silent, asked, execution)
        await crashed(silent, execution, errorMessage=message)
        if message != CRASH:
            break
        if number < RESENDS_MAX:
            await again(silent, asked, number + 2)
    await silent.until_delivered(asked["requestId"])
    sent = len(silent.chain.n8n.calls.to("webhook"))
    [letter] = await letters(silent, kind="n8n")
    replayed = await replay(silent, letter["id"])
    await again(silent, asked, sent + 1)

    assert (replayed.status_code, replayed.json()["status"]) == (200, "queued")
    assert ("queued", "replayed by ops") in await notes(silent, asked)
    assert await letters(silent) == []
    await ask_wanted(silent, asked, "after the replay")
    await crashed(silent, "after the replay")  # a replay grants the two resends anew
    await again(silent, asked, sent + 2)
    await call_back(silent, completed(asked, png))
    assert (await silent.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_a_late_result_still_wins_and_the_letter_can_then_only_be_discarded(silent: Stage, png: bytes) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first", errorMessage="x is not a function")
    [letter] = await letters(silent)
    await call_back(silent, completed(asked, png))
    refused = await replay(silent, letter["id"])
    discarded = await silent.api.post(
        f"{DEAD_LETTERS}/{letter['id']}/discard", json={"reason": "it came"}, headers=silent.as_client("ops")
    )
    assert (refused.status_code, refused.json()["code"], discarded.status_code) == (409, "request_moved_on", 200)


async def test_an_execution_that_died_after_its_result_needs_nobody(silent: Stage, database: Database) -> None:
    asked = await dispatched(silent)
    await call_back(silent, failed(asked))
    answer = await crashed(silent, "first")
    async with database.reading() as connection:
        alerts = await connection.scalar(text("SELECT count(*) FROM incidents"))
    assert (answer.status_code, answer.json()["requestId"]) == (202, asked["requestId"])
    assert (await letters(silent), alerts) == ([], 0)


async def test_of_two_executions_for_one_request_only_the_later_counts(silent: Stage) -> None:
    """N8N took the webhook twice, because its first answer was lost."""
    asked = await dispatched(silent)
    await ask_wanted(silent, asked, "second")
    await crashed(silent, "first")
    assert await version(silent, asked) == 2
    await crashed(silent, "second")
    await again(silent, asked, 2)
    await crashed(silent, "first")
    assert (await version(silent, asked), await letters(silent)) == (4, [])


async def test_an_execution_from_before_a_replay_moves_nothing(silent: Stage) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first", errorMessage="x is not a function")
    [letter] = await letters(silent)
    await replay(silent, letter["id"])
    await again(silent, asked, 2)
    before = await version(silent, asked)
    await crashed(silent, "first")
    assert await version(silent, asked) == before


async def test_an_execution_that_timed_out_before_a_replay_moves_nothing(silent: Stage, database: Database) -> None:
    """N8N was away for longer than the deadline, and reports what died when the request is under way once more."""
    asked = await dispatched(silent)
    requests, known = Requests(database, DEADLINES, PostgresImages(database)), {"request_id": UUID(asked["requestId"])}
    await requests.apply(timed_out(known["request_id"], DEADLINES.callback))
    await requests.apply(Transition(**known, before=frozenset({Status.FAILED}), after=Status.QUEUED))
    await again(silent, asked, 2)
    before = await version(silent, asked)
    await crashed(silent, "first")
    assert (await version(silent, asked), await letters(silent)) == (before, [])


async def test_a_report_that_names_another_request_than_the_note_moves_neither(silent: Stage) -> None:
    one, other = (
        await dispatched(silent),
        await dispatched(silent, 2),
    )  # both in the execution `first`: the later counts
    await crashed(silent, "first", requestId=one["requestId"])
    [letter] = await letters(silent, kind="n8n")
    assert letter["requestId"] == one["requestId"]
    assert [await version(silent, asked) for asked in (one, other)] == [2, 2]


async def test_an_older_workflow_that_notes_nothing_is_served_by_the_id_in_the_report(silent: Stage) -> None:
    asked = await silent.ask()
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await tell(silent, report(requestId=asked["requestId"], executionId="7", errorMessage="It stopped."))
    assert (await silent.until_delivered(asked["requestId"]))["errorCode"] == "workflow_failed"


async def test_a_crash_of_an_execution_that_nobody_noted_is_a_dead_letter_as_before(silent: Stage) -> None:
    answer = await crashed(silent, "unheard of")
    [letter] = await letters(silent, kind="n8n")
    assert (answer.json(), letter["requestId"]) == ({"id": letter["id"], "requestId": None}, None)


async def test_an_undelivered_result_moves_nothing_but_is_attributed(silent: Stage, png: bytes) -> None:
    asked = await dispatched(silent)
    event = {k: v for k, v in undelivered(asked, png).items() if k != "requestId"} | {"executionId": "first"}
    await tell(silent, event, png)
    [letter] = await letters(silent, kind="n8n")
    now = await silent.read(asked["requestId"])
    assert (letter["errorCode"], letter["requestId"], now["status"]) == (
        "n8n_undelivered",
        asked["requestId"],
        "dispatched",
    )


async def test_a_reset_n8n_counts_its_executions_anew(silent: Stage) -> None:
    """The same words about execution 1, but about another request."""
    before = await dispatched(silent)
    await crashed(silent, "first")
    await again(silent, before, 2)
    after = await dispatched(silent, 3)
    told = await crashed(silent, "first")
    await again(silent, after, 4)
    assert told.json()["requestId"] == after["requestId"]
    assert ("queued", "N8N lost execution first; sent again") in await notes(silent, after)


async def test_people_hear_once_that_n8n_loses_executions(silent: Stage, database: Database) -> None:
    asked = await dispatched(silent)
    await crashed(silent, "first")
    joined = "incidents AS i JOIN occurrences AS o ON o.incident_id = i.id"
    async with database.reading() as connection:
        found = await connection.execute(text(f"SELECT i.cause, i.times, o.request_id, o.detail FROM {joined}"))  # noqa: S608
        row = found.one()
    assert tuple(row) == ("execution_lost", 1, UUID(asked["requestId"]), "N8N lost execution first; sent again")


DEADLINES = Deadlines(timedelta(minutes=10), timedelta(hours=1))
OUT = """
    WITH known AS (
        UPDATE incidents SET seen_at = now() - interval '35 seconds' WHERE cause = 'n8n_down' RETURNING cause
    ) INSERT INTO incidents (cause, times, seen_at)
    SELECT 'n8n_down', 1, now() - interval '35 seconds' WHERE NOT EXISTS (SELECT FROM known)
"""
PAUSED = """
    INSERT INTO destination_pauses (destination, began_at, ended_at)
    VALUES ('n8n', now() - interval '38 seconds', now() - interval '31 seconds')
"""
LONG_AGO = (
    "UPDATE requests SET dispatched_at = now() - interval '40 seconds'",
    "UPDATE executions SET noted_at = now() - interval '50 seconds'",
)
LATER = """
    WITH request AS (
        UPDATE requests SET dispatched_at = now() - interval '30 seconds' WHERE request_id = :later RETURNING request_id
    ) INSERT INTO executions (execution_id, request_id, version, noted_at)
    SELECT 'later', request_id, 1, now() - interval '25 seconds' FROM request
    ON CONFLICT (execution_id) DO UPDATE SET noted_at = excluded.noted_at
"""


async def lapse(database: Database, *statements: str, later: dict[str, Any] | None = None) -> None:
    """N8N took what is dispatched 40 s ago, and began `later` 25 s ago; the statements say what happened since."""
    async with database.transaction() as connection:
        for statement in (*LONG_AGO, *statements):
            await connection.execute(text(statement))
        if later:
            await connection.execute(text(LATER), {"later": UUID(later["requestId"])})


async def swept(database: Database) -> list[UUID]:
    """What the sweep sends again."""
    return await Sweeps(database, DEADLINES).send_again(never_started, RESENDS_MAX)


async def test_a_request_that_a_stopping_n8n_accepted_and_never_started_is_sent_again(
    silent: Stage, database: Database
) -> None:
    """It acknowledges the webhook and is gone before the workflow begins; nobody ever reports that."""
    begun = await dispatched(silent)
    asked, later = await silent.ask(), await silent.ask()
    await taken(silent, 3)
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await lapse(database, OUT, later=later)
    await again(silent, asked, 4)  # by the worker's sweep
    note = "N8N accepted it and stopped before the workflow started; sent again"
    assert ("queued", note) in await notes(silent, asked)
    assert (await silent.read(begun["requestId"]))["version"] == 2


async def test_so_is_one_that_n8n_lost_while_operators_had_paused_it(silent: Stage, database: Database) -> None:
    """They pause N8N to restart it. Nothing is sent meanwhile, so nothing finds N8N away."""
    await dispatched(silent)
    asked, later = await silent.ask(), await silent.ask()
    await taken(silent, 3)
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await lapse(database, PAUSED, later=later)
    await again(silent, asked, 4)


async def test_that_is_done_twice_at_most(silent: Stage, database: Database) -> None:
    await dispatched(silent)
    asked, later = await silent.ask(), await silent.ask()
    for times in range(RESENDS_MAX + 1):
        await again(silent, asked, times + 3)
        await lapse(database, OUT, later=later)
        if times < RESENDS_MAX:
            await taken(silent, times + 4)
    assert await swept(database) == []


async def test_it_is_not_done_while_n8n_may_yet_begin_it(silent: Stage, database: Database) -> None:
    """In queue mode an execution may wait for minutes; nothing that N8N took later has begun either."""
    await dispatched(silent)
    asked = await silent.ask()
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await lapse(database, OUT)
    assert await swept(database) == []


async def test_it_is_not_done_while_n8n_was_there_all_the_time(silent: Stage, database: Database) -> None:
    await dispatched(silent)
    asked, later = await silent.ask(), await silent.ask()
    await taken(silent, 3)
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    before = OUT.replace("35 seconds", "45 seconds")  # it was away, but before it took the request
    await lapse(database, before, later=later)
    assert await swept(database) == []


async def test_it_is_not_done_for_an_older_workflow_that_notes_nothing(silent: Stage, database: Database) -> None:
    asked, later = await silent.ask(), await silent.ask()
    await taken(silent, 2)
    await silent.until(asked["requestId"], lambda found: found["status"] == "dispatched")
    await lapse(database, OUT, later=later)  # the later one was begun by a newer workflow
    assert await swept(database) == []


@pytest.mark.parametrize("odd", ["", "x" * 201, "nul \0", "💥" * 100, "a'; DROP TABLE executions; --"])
async def test_wanted_answers_whatever_the_execution_is_called(idle_stage: Stage, odd: str) -> None:
    asked = await idle_stage.ask()
    answer = await ask_wanted(idle_stage, asked, odd)
    assert (answer.status_code, answer.json()["wanted"]) == (200, True)


async def test_wanted_answers_although_nothing_can_be_noted(idle_stage: Stage, database: Database) -> None:
    asked = await idle_stage.ask()
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE executions RENAME TO gone"))
    missing = await ask_wanted(idle_stage, asked, "first")
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE gone RENAME TO executions"))
    async with database.transaction() as connection:
        await connection.execute(text("LOCK TABLE executions IN ACCESS EXCLUSIVE MODE"))
        stuck = await ask_wanted(idle_stage, asked, "first")
    assert [(a.status_code, a.json()["wanted"]) for a in (missing, stuck)] == [(200, True)] * 2


async def test_a_note_goes_with_its_request(idle_stage: Stage, database: Database) -> None:
    asked = await idle_stage.ask()
    await ask_wanted(idle_stage, asked, "first")
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM requests"))
        left = await connection.scalar(text("SELECT count(*) FROM executions"))
    assert left == 0
    assert (await ask_wanted(idle_stage, {"requestId": str(uuid4())}, "first")).status_code == 404
