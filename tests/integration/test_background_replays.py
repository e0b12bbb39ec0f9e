"""Background replays: each letter that was dead when one began is replayed once, whoever stops or dies meanwhile."""

import asyncio
import json
import random
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.dialects import postgresql

from aigen_bridge.domain.dead_letter import DeadLetterFilter, DeadLetterName, OperatorAction
from aigen_bridge.domain.errors import ReplayLeaseLostError
from aigen_bridge.domain.replay_job import ATTEMPTS_MAX, LeasedReplay, ReplayStep
from aigen_bridge.pipeline import replay_jobs
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.dead_letters import DeadLetters, _merged
from aigen_bridge.store.replays import ReplayQueue
from aigen_bridge.wiring import ApiParts, WorkerParts, open_api, open_worker
from callbacks import completed, report_v2
from letters import dead
from outages import rows, write
from processes import run, started
from stage import CLIENTS, KEYS, REQUESTS, Stage, make_event, staged, working

REPLAYS = "/api/v1/ops/replays"
LETTERS = "/api/v1/ops/dead-letters"
FAST = 1000
ANNA = OperatorAction("anna", "the key is new")
LEASE = timedelta(seconds=30)


async def begin(stage: Stage, client: str = "ops", **terms: Any) -> dict[str, Any]:
    answer = await stage.api.post(REPLAYS, json={"maxPerSecond": FAST, **terms}, headers=stage.as_client(client))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{REPLAYS}/{answer.json()['id']}"
    return dict(answer.json())


async def read(stage: Stage, number: int) -> dict[str, Any]:
    answer = await stage.api.get(f"{REPLAYS}/{number}", headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def stop(stage: Stage, number: int) -> dict[str, Any]:
    answer = await stage.api.post(f"{REPLAYS}/{number}/stop", headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def until(stage: Stage, number: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while not condition(found := await read(stage, number)):
            await asyncio.sleep(0.02)
        return found


async def until_ended(stage: Stage, number: int) -> dict[str, Any]:
    return await until(stage, number, lambda job: job["state"] in {"finished", "stopped"})


async def letters(stage: Stage) -> list[dict[str, Any]]:
    answer = await stage.api.get(LETTERS, params={"limit": 200}, headers=stage.as_client("ops"))
    return list(answer.json()["items"])


def counts(job: dict[str, Any]) -> tuple[int, ...]:
    return tuple(job[name] for name in ("matched", "replayed", "failed", "movedOn", "left"))


async def replayed_twice(database: Database) -> list[tuple[Any, ...]]:
    query = "SELECT target, count(*) FROM operations WHERE target LIKE 'entry-%' GROUP BY 1 HAVING count(*) > 1"
    return await rows(database, query)


async def test_a_dry_run_counts_and_shows_the_oldest_and_changes_nothing(idle_stage: Stage, database: Database) -> None:
    await dead(database, 25)
    await dead(database, 1, code="http_401", ago=3600)
    body = {"dryRun": True, "kind": "dispatch", "maxPerSecond": 5}
    answer = await idle_stage.api.post(REPLAYS, json=body, headers=idle_stage.as_client("ops"))
    found = answer.json()

    assert (answer.status_code, found["dryRun"], found["matched"], len(found["first"])) == (200, True, 26, 20)
    assert found["first"][0]["errorCode"] == "http_401"
    assert (await idle_stage.api.get(REPLAYS, headers=idle_stage.as_client("ops"))).json() == {"items": []}
    assert len(await letters(idle_stage)) == 26


async def test_a_worker_replays_every_letter_and_records_for_whom_and_why(
    idle_stage: Stage, database: Database
) -> None:
    await dead(database, 30)
    await dead(database, 2, code="http_401")
    job = await begin(idle_stage, errorCode="http_403", reason="the key is new")
    async with working(idle_stage.settings):
        ended = await until_ended(idle_stage, job["id"])
    actions = await rows(database, "SELECT client, action, note, count(*) FROM operations GROUP BY 1, 2, 3 ORDER BY 4")

    assert (job["state"], counts(job)) == ("running", (30, 0, 0, 0, 30))
    assert (ended["state"], counts(ended), ended["failures"]) == ("finished", (30, 30, 0, 0, 0), [])
    assert actions == [
        ("ops", "replay", "the key is new", 1),
        ("ops", "replay", f"replay {job['id']}: the key is new", 30),
    ]
    assert [letter["errorCode"] for letter in await letters(idle_stage)] == ["http_401"] * 2


async def test_letters_that_die_again_are_not_replayed_in_circles(idle_stage: Stage, database: Database) -> None:
    fault = Fault(kind=FaultKind.STATUS, route="webhook", status=403, times=None)
    idle_stage.chain.n8n.faults.add(fault)
    await dead(database, 5)
    job = await begin(idle_stage, maxPerSecond=2)
    async with working(idle_stage.settings):
        ended = await until_ended(idle_stage, job["id"])
        async with asyncio.timeout(20):
            while len(await letters(idle_stage)) < 5:
                await asyncio.sleep(0.02)

    assert counts(ended) == (5, 5, 0, 0, 0)
    assert await rows(database, "SELECT count(*) FROM outbox WHERE step = 'dispatch'") == [(10,)]


async def test_a_callback_that_is_refused_again_is_listed_and_tried_once(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    """It stays the same dead letter. One that fits by now is taken, with its image, which the worker checks."""
    known, unknown = make_event(), make_event()
    for event in (known, unknown):
        await report_v2(idle_stage, completed(event, png, imageData=None), png)
    await idle_stage.api.post(REQUESTS, json=known, headers=idle_stage.as_client("odoo"))
    job = await begin(idle_stage, kind="callback")
    async with working(idle_stage.settings):
        ended = await until_ended(idle_stage, job["id"])
        await idle_stage.until_delivered(known["requestId"])

    [failure] = ended["failures"]
    assert counts(ended) == (2, 1, 1, 0, 0)
    assert (failure["requestId"], failure["movedOn"]) == (unknown["requestId"], False)
    assert "No request has the id" in failure["reason"]
    assert idle_stage.chain.odoo.records.image(known["requestId"]) == png


async def test_two_jobs_over_the_same_letters_replay_each_once_and_the_second_says_so(
    idle_stage: Stage, database: Database
) -> None:
    await dead(database, 40)
    first, second = await begin(idle_stage), await begin(idle_stage)
    async with working(idle_stage.settings), working(idle_stage.settings):
        one, two = [await until_ended(idle_stage, job["id"]) for job in (first, second)]

    assert one["replayed"] + two["replayed"] == 40
    assert one["movedOn"] + two["movedOn"] == 40
    assert all(job["matched"] == 40 and job["failed"] == 0 for job in (one, two))
    assert await replayed_twice(database) == []


async def test_a_job_keeps_to_its_rate(idle_stage: Stage, database: Database) -> None:
    await dead(database, 6)
    job = await begin(idle_stage, maxPerSecond=5)
    async with working(idle_stage.settings):
        ended = await until_ended(idle_stage, job["id"])
    at = [row[0] for row in await rows(database, "SELECT at FROM operations WHERE target LIKE 'entry-%' ORDER BY at")]

    assert ended["replayed"] == 6
    assert at[-1] - at[0] >= timedelta(seconds=5 / 5) - timedelta(milliseconds=200)


async def test_a_slow_job_leaves_the_worker_to_the_others(idle_stage: Stage, database: Database) -> None:
    await dead(database, 2, code="slow")
    await dead(database, 20, code="quick")
    slow = await begin(idle_stage, errorCode="slow", maxPerSecond=0.01)
    quick = await begin(idle_stage, errorCode="quick")
    async with working(idle_stage.settings):
        await until_ended(idle_stage, quick["id"])
        found = await read(idle_stage, slow["id"])

    assert (found["state"], counts(found)) == ("running", (2, 1, 0, 0, 1))


async def test_a_stopped_job_replays_nothing_more(idle_stage: Stage, database: Database) -> None:
    await dead(database, 50)
    job = await begin(idle_stage, maxPerSecond=10)
    async with working(idle_stage.settings):
        await until(idle_stage, job["id"], lambda found: found["replayed"] > 0)
        told = await stop(idle_stage, job["id"])
        ended = await until_ended(idle_stage, job["id"])
        again = await stop(idle_stage, job["id"])

    assert told["state"] in {"stopping", "stopped"}
    assert ended["replayed"] <= told["replayed"] + 1, "the letter that was being replayed"
    assert (ended["state"], again["state"]) == ("stopped", "stopped")
    assert 0 < ended["replayed"] == 50 - len(await letters(idle_stage))
    assert ended["left"] == 50 - ended["replayed"]
    assert await rows(database, "SELECT client, target FROM operations WHERE action = 'stop'") == [
        ("ops", f"replay {job['id']}")
    ]


async def test_a_job_that_no_worker_holds_is_stopped_at_once(idle_stage: Stage, database: Database) -> None:
    await dead(database, 1)
    job = await begin(idle_stage)

    assert (await stop(idle_stage, job["id"]))["state"] == "stopped"
    assert len(await letters(idle_stage)) == 1


async def test_after_a_killed_worker_another_goes_on_and_nothing_is_replayed_twice(
    idle_stage: Stage, database: Database, tmp_path: Path
) -> None:
    await dead(database, 60)
    settings = environment(idle_stage, AIGEN_WORKER__LEASE="3", AIGEN_N8N__TIMEOUT="1", AIGEN_ODOO__TIMEOUT="1.5")
    settings["AIGEN_IMAGE_URLS__TIMEOUT"] = "1"
    async with started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started") as first:
        job = await begin(idle_stage, maxPerSecond=20)
        await until(idle_stage, job["id"], lambda found: found["replayed"] > 3)
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    killed = await read(idle_stage, job["id"])
    async with started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started"):
        ended = await until_ended(idle_stage, job["id"])

    assert killed["state"] == "running"
    assert killed["replayed"] < 60
    assert (ended["state"], counts(ended)) == ("finished", (60, 60, 0, 0, 0))
    assert await replayed_twice(database) == []


def environment(stage: Stage, **extra: str) -> dict[str, str]:
    """The stage's settings for a process of its own."""
    url = stage.settings.database_url.get_secret_value().replace("+psycopg", "")
    sections = {**stage.chain.bridge, "clients": {"odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]}}}
    return {
        "AIGEN_DATABASE_URL": url,
        "AIGEN_PUBLIC_URL": stage.settings.public_url,
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
        **extra,
    }


async def test_a_worker_that_lost_its_lease_replays_and_counts_nothing(idle_stage: Stage, database: Database) -> None:
    await dead(database, 2)
    queue, letters_of = ReplayQueue(database), DeadLetters(database)
    job = await queue.begin(DeadLetterFilter(), ANNA, FAST)
    async with open_api(idle_stage.settings) as parts:
        [letter, _] = await letters_of.following(job.wanted, None, 10)
        late = await claimed(queue, timedelta(0))
        await queue.claim("another", LEASE)
        with pytest.raises(ReplayLeaseLostError):
            await parts.replays.replay(DeadLetterName.parse(letter.id), late.action)
        with pytest.raises(ReplayLeaseLostError):
            await queue.advance(late.lease, ReplayStep((letter.at, letter.id), letter.request_id), LEASE)

    assert (await queue.get(job.id)).replayed == 0
    assert len(await letters(idle_stage)) == 2


async def claimed(queue: ReplayQueue, lease: timedelta = LEASE) -> LeasedReplay:
    found = await queue.claim("a worker", lease)
    assert found
    return found


async def test_a_job_is_leased_to_one_worker_at_a_time(database: Database) -> None:
    queue = ReplayQueue(database)
    await queue.begin(DeadLetterFilter(), ANNA, FAST)
    found = await asyncio.gather(*(queue.claim(f"worker {number}", LEASE) for number in range(8)))

    assert sum(each is not None for each in found) == 1


async def test_a_letter_that_ends_its_workers_is_left_out(idle_stage: Stage, database: Database) -> None:
    await dead(database, 2)
    queue = ReplayQueue(database)
    job = await queue.begin(DeadLetterFilter(), ANNA, FAST)
    for _ in range(ATTEMPTS_MAX):
        await claimed(queue, timedelta(0))
    async with open_worker(idle_stage.settings) as parts:
        await worked(parts)
    ended, [failure] = await queue.get(job.id), await queue.failures(job.id)

    assert (ended.state, ended.replayed, ended.failed) == ("finished", 1, 1)
    assert f"{ATTEMPTS_MAX} workers ended" in failure.reason


async def worked(parts: WorkerParts) -> None:
    """Lets a worker have its turn until nothing is due."""
    async with asyncio.timeout(30):
        while await parts.replay_jobs.work("a worker", LEASE, asyncio.Event()):
            pass


async def test_a_letter_that_was_just_handled_by_somebody_else_is_no_failure(
    idle_stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were read before one was replayed by hand. The list says by whom."""
    await dead(database, 2)
    queue = ReplayQueue(database)
    job = await queue.begin(DeadLetterFilter(), ANNA, FAST)
    [_, second] = await DeadLetters(database).following(job.wanted, None, 10)
    before = replay_jobs.ReplayJobs._step

    async def meanwhile(jobs: Any, letter: Any, *rest: Any) -> ReplayStep:
        if letter.id == second.id:
            await idle_stage.api.post(f"{LETTERS}/{letter.id}/replay", headers=idle_stage.as_client("ops"))
        return await before(jobs, letter, *rest)

    monkeypatch.setattr(replay_jobs.ReplayJobs, "_step", meanwhile)
    async with open_worker(idle_stage.settings) as parts:
        await worked(parts)
    ended = await read(idle_stage, job.id)

    assert counts(ended) == (2, 1, 0, 1, 0)
    assert [(each["id"], each["movedOn"]) for each in ended["failures"]] == [(second.id, True)]
    assert "it was replayed by ops at 20" in ended["failures"][0]["reason"]


async def test_a_bug_at_one_letter_does_not_hold_up_the_others(
    idle_stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead(database, 3)
    queue = ReplayQueue(database)
    job = await queue.begin(DeadLetterFilter(), ANNA, FAST)
    [_, second, _] = await DeadLetters(database).following(job.wanted, None, 10)

    async with open_worker(idle_stage.settings) as parts:
        operations = type(parts.replay_jobs.replays.operations)
        before: Any = operations.replay_entry

        async def broken(self: Any, number: int, *rest: Any, **named: Any) -> Any:
            if f"entry-{number}" == second.id:
                raise ValueError("a bug")
            return await before(self, number, *rest, **named)

        monkeypatch.setattr(operations, "replay_entry", broken)
        await worked(parts)
    ended, [failure] = await queue.get(job.id), await queue.failures(job.id)

    assert (ended.replayed, ended.failed) == (2, 1)
    assert failure.reason == "A bug in the bridge: ValueError."


async def test_an_operator_of_one_odoo_replays_sees_and_stops_its_own_only(
    database_url: str, database: Database
) -> None:
    north = {"north": {"url": "http://127.0.0.1:9", "database": "n", "login": "b", "api_key": "k"}}
    clients = CLIENTS | {"north": {"keys": ["key-of-north"], "scopes": ["ops"], "odoo": "north"}}
    async with staged(database_url, odoos=north, clients=clients) as stage:
        await dead(database, 3)
        await dead(database, 2, odoo="north")
        headers = {"X-API-Key": "key-of-north"}
        everybody = await begin(stage)
        mine = (await stage.api.post(REPLAYS, json={}, headers=headers)).json()
        other = await stage.api.post(REPLAYS, json={"odoo": "default"}, headers=headers)
        listed = (await stage.api.get(REPLAYS, headers=headers)).json()["items"]
        hidden = [await stage.api.get(f"{REPLAYS}/{everybody['id']}", headers=headers)]
        hidden.append(await stage.api.post(f"{REPLAYS}/{everybody['id']}/stop", headers=headers))

    assert (everybody["matched"], mine["matched"], mine["odoo"]) == (5, 2, "north")
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "odoo")
    assert [job["id"] for job in listed] == [mine["id"]]
    assert [answer.status_code for answer in hidden] == [404, 404]


@pytest.mark.parametrize(
    "body",
    [{"kind": "everything"}, {"maxPerSecond": 0}, {"unknown": 1}, {"since": "yesterday"}, {"reason": " "}],
)
async def test_wrong_terms_are_a_422_and_begin_nothing(idle_stage: Stage, body: dict[str, Any]) -> None:
    answer = await idle_stage.api.post(REPLAYS, json=body, headers=idle_stage.as_client("ops"))
    listed = await idle_stage.api.get(REPLAYS, headers=idle_stage.as_client("ops"))

    assert (answer.status_code, listed.json()) == (422, {"items": []})


@pytest.mark.parametrize("number", ["0", "x", "999", "9" * 30])
async def test_a_number_that_is_none_is_refused(idle_stage: Stage, number: str) -> None:
    found: httpx.Response = await idle_stage.api.get(f"{REPLAYS}/{number}", headers=idle_stage.as_client("ops"))

    assert found.status_code in {404, 422}


async def test_the_newest_jobs_are_kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ReplayQueue(database)
    ids = []
    for _ in range(3):
        ids.append((await queue.begin(DeadLetterFilter(), ANNA, FAST)).id)
        await queue.stop(ids[-1], ANNA)
    await write(database, "SELECT setval(pg_get_serial_sequence('replay_jobs', 'id'), 1000)")
    await write(database, "INSERT INTO replay_jobs (max_per_second, client) SELECT 1, 'x' FROM generate_series(1, 199)")
    await queue.begin(DeadLetterFilter(), ANNA, FAST)

    assert not {job.id for job in await queue.page(300)} & set(ids)


async def test_an_operator_who_comes_second_learns_who_was_first(idle_stage: Stage, database: Database) -> None:
    await dead(database, 2)
    [one, two] = [letter["id"] for letter in await letters(idle_stage)]
    headers = idle_stage.as_client("ops")
    await idle_stage.api.post(f"{LETTERS}/{one}/discard", json={"reason": "a test"}, headers=headers)
    [[request_id]] = await rows(database, "SELECT request_id FROM outbox WHERE id = :id", id=int(two.split("-")[1]))
    await idle_stage.api.post(f"/api/v1/ops/requests/{request_id}/replay", headers=headers)
    answers = [
        await idle_stage.api.post(f"{LETTERS}/{one}/replay", headers=headers),
        await idle_stage.api.get(f"{LETTERS}/{one}", headers=headers),
        await idle_stage.api.post(f"{LETTERS}/{two}/discard", json={"reason": "none"}, headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert "it was discarded by ops at 20" in answers[0].json()["detail"]
    assert "it was discarded by ops at 20" in answers[1].json()["detail"]
    assert isinstance(request_id, UUID)


async def test_selected_letters_are_replayed_and_discarded(idle_stage: Stage, database: Database) -> None:
    await dead(database, 3)
    [one, two, three] = [letter["id"] for letter in await letters(idle_stage)]
    async with open_api(idle_stage.settings) as parts:
        assert isinstance(parts, ApiParts)
        replayed = await parts.replays.replay_each([one, "entry-999"], ANNA)
        discarded = await parts.replays.discard_each([one, two], ANNA)

    assert (replayed.done, list(replayed.failed)) == ([one], ["entry-999"])
    assert (discarded.done, list(discarded.failed)) == ([two], [one])
    assert "it was replayed by anna" in discarded.failed[one]
    assert [letter["id"] for letter in await letters(idle_stage)] == [three]


async def test_causes_group_the_open_letters(idle_stage: Stage, database: Database) -> None:
    await dead(database, 3)
    await dead(database, 2, odoo="north", ago=10)
    await dead(database, 1, code="http_401")
    await report_v2(idle_stage, completed(make_event(), b"x", imageData=None), b"x")
    causes = await DeadLetters(database).causes()
    north = await DeadLetters(database).causes("north")

    found = {(cause.kind, cause.error_code, cause.odoo): cause.count for cause in causes}
    assert found == {
        ("dispatch", "http_403", "default"): 3,
        ("dispatch", "http_403", "north"): 2,
        ("dispatch", "http_401", "default"): 1,
        ("callback", "request_unknown", None): 1,
    }
    assert [cause.count for cause in causes] == sorted(found.values(), reverse=True)
    assert all(cause.example and cause.detail for cause in causes)
    assert [(cause.odoo, cause.count) for cause in north] == [("north", 2)]


async def test_a_command_looks_and_begins(idle_stage: Stage, database: Database, tmp_path: Path) -> None:
    await dead(database, 22)
    command = ("dead-letters", "replay", "--all", "--background", "--error-code", "http_403")
    settings = environment(idle_stage)
    looked, begun, wrong = [
        await asyncio.to_thread(run, *arguments, environment=settings, cwd=tmp_path)
        for arguments in ((*command, "--dry-run"), command, ("dead-letters", "replay", "entry-1", "--background"))
    ]
    job = await read(idle_stage, 1)

    assert looked.stdout.startswith("Would replay 22: entry-1, ")
    assert begun.stdout.startswith("Replay 1 has begun: 22 dead letters.")
    assert (job["client"].partition(":")[0], counts(job)) == ("cli", (22, 0, 0, 0, 22))
    assert (wrong.returncode, "give --all" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_meanwhile_every_letter_is_replayed_once_and_counted_right(
    idle_stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Workers lose their leases or die at any moment, and operators handle letters and stop jobs meanwhile."""
    chance = random.Random(seed)
    monkeypatch.setattr(replay_jobs, "TURN", 0.05)
    await dead(database, 60)
    queue = ReplayQueue(database)
    jobs = [await queue.begin(DeadLetterFilter(), ANNA, FAST) for _ in range(3)]
    async with open_worker(idle_stage.settings) as parts, open_api(idle_stage.settings) as api:
        for _ in range(12):
            turns = [asyncio.create_task(turn(parts, chance.uniform(0, 0.1))) for _ in range(3)]
            by_hand = [f"entry-{chance.randint(1, 60)}" for _ in range(2)]
            await api.replays.discard_each(by_hand[:1], OperatorAction("bert", "by hand"))
            await api.replays.replay_each(by_hand[1:], OperatorAction("bert"))
            await asyncio.sleep(chance.uniform(0, 0.1))
            for killed in turns[: chance.randint(0, 3)]:
                killed.cancel()
            await asyncio.gather(*turns, return_exceptions=True)
        await queue.stop(jobs[1].id, ANNA)
        await asyncio.sleep(0.1)  # the last leases end
        await worked(parts)
    ended = [await queue.get(job.id) for job in jobs]
    records = dict(
        await rows(database, "SELECT note, count(*) FROM operations WHERE target LIKE 'entry-%' GROUP BY note")
    )

    assert await replayed_twice(database) == []
    for job in ended:
        assert job.state in {"finished", "stopped"}
        assert job.replayed == records.get(f"{job.target}: {ANNA.note}", 0)
        assert job.matched == 60 == job.replayed + job.failed + job.moved_on + job.left
        assert job.left == 0 or job.state == "stopped"


async def turn(parts: WorkerParts, lease: float) -> None:
    await parts.replay_jobs.work("a worker", timedelta(seconds=lease), asyncio.Event())


async def test_a_page_reads_its_letters_by_their_age_however_many_there_are(database: Database) -> None:
    """Every statement is planned once, without its parameters, so what selects an index must not be one of them."""
    await dead(database, 3000)
    await write(database, "UPDATE outbox SET finished_at = now() - make_interval(secs => id)")
    await write(database, "ANALYZE outbox")
    for newest_first in (True, False):
        query = _merged(DeadLetterFilter(), 50, newest_first=newest_first)
        statement = str(query.compile(dialect=postgresql.dialect(), compile_kwargs={"render_postcompile": True}))  # type: ignore[no-untyped-call]
        plan = "\n".join(line for (line,) in await rows(database, f"EXPLAIN {statement}".replace("':'", "chr(58)")))
        assert "outbox_dead_idx" in plan
        assert "Seq Scan on outbox" not in plan
