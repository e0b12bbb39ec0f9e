"""What N8N reports about a generation and its cost is kept, shown, and delivered to Odoo with the result."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from aigen_bridge.contracts.examples import GENERATION_JOB
from aigen_bridge.domain.request import TRANSITIONS, FailedBy, Status, Transition
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed, report, with_url
from outages import write
from stage import REQUESTS, Stage, make_event, working

GENERATION: dict[str, Any] = {"provider": "fal", "jobId": "7f", "model": "fal-ai/flux-lora", "seed": 42, "seconds": 3.1}
COST: dict[str, Any] = {"amount": "0.0350", "currency": "USD", "basis": "billed", "units": 1}
FACTS = {"generation": GENERATION, "cost": COST}
SHOWN_COST = {"amount": "0.035", "currency": "USD", "basis": "billed"}
NOTE = "made by fal fal-ai/flux-lora (job 7f), seed 42, 3.1 s; cost 0.035 USD (billed)"


def known(generation: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts that are not null."""
    return {name: value for name, value in generation.items() if value is not None}


async def last_note(stage: Stage, asked: dict[str, Any]) -> Any:
    changes = [e for e in await stage.timeline(asked["requestId"]) if e["kind"] == "state"]
    return changes[-1]["note"]


async def move(database: Database, asked: dict[str, Any], *states: Status) -> None:
    """Moves a request through these states: `queued` as after a lost execution, `failed` by the bridge."""
    requests = Requests(database, Deadlines(timedelta(minutes=10), timedelta(minutes=5)), PostgresImages(database))
    request_id = UUID(asked["requestId"])
    for state in states:
        before = frozenset(known for known, following in TRANSITIONS.items() if state in following) - {Status.FAILED}
        failed_by = FailedBy.BRIDGE if state is Status.FAILED else None
        assert await requests.apply(
            Transition(request_id=request_id, before=before, after=state, failed_by=failed_by, error_code="timed_out")
        )


async def replay(stage: Stage, asked: dict[str, Any]) -> dict[str, Any]:
    url = f"/api/v1/ops/requests/{asked['requestId']}/replay"
    answer = await stage.api.post(url, headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def name_job(stage: Stage, asked: dict[str, Any]) -> None:
    url = f"{REQUESTS}/{asked['requestId']}/generation/job"
    body = GENERATION_JOB | {"correlationId": asked["correlationId"]}
    assert (await stage.api.put(url, json=body, headers=stage.as_client("n8n"))).status_code == 200


async def test_the_facts_of_an_image_are_in_resource_timeline_and_payload(
    stage: Stage, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads, records = [], stage.chain.odoo.records
    apply = records.apply
    monkeypatch.setattr(records, "apply", lambda payload: payloads.append(payload) or apply(payload))
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK))  # the test reports in its place
    asked = await stage.ask()
    assert (await report(stage, completed(asked, png) | FACTS)).status_code == 202
    ended = await stage.until_delivered(asked["requestId"])

    assert known(ended["generation"]) == GENERATION | {"resent": 0}
    assert ended["cost"] == SHOWN_COST
    assert await last_note(stage, asked) == NOTE
    assert (payloads[-1]["generation"], payloads[-1]["cost"]) == (GENERATION, SHOWN_COST)


async def test_the_facts_of_an_image_that_is_fetched_are_kept_until_it_is_there(stage: Stage) -> None:
    asked, event = await with_url(stage)
    await report(stage, event | FACTS)
    ended = await stage.until_delivered(asked["requestId"])

    assert (known(ended["generation"]), ended["cost"]) == (GENERATION | {"resent": 0}, SHOWN_COST)
    assert await last_note(stage, asked) == NOTE


async def test_a_failure_may_have_facts_and_a_wrong_one_is_named(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    generation = GENERATION | {"seed": "high"}
    answer = await report(idle_stage, failed(asked, generation=generation, cost=COST))
    ended = await idle_stage.read(asked["requestId"])

    assert answer.json()["status"] == "failed"
    assert (ended["generation"]["jobId"], ended["generation"]["seed"], ended["cost"]) == ("7f", None, SHOWN_COST)
    told = "failed at fal fal-ai/flux-lora (job 7f), 3.1 s; cost 0.035 USD (billed)"
    assert await last_note(idle_stage, asked) == f"{told}; ignored in the callback: generation.seed"


async def test_the_facts_of_an_image_that_is_kept_after_a_cancel_are_kept(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    url = f"{REQUESTS}/{asked['requestId']}/cancel"
    cancelled = (await idle_stage.api.post(url, headers=idle_stage.as_client("odoo"))).json()
    await report(idle_stage, completed(asked, png) | FACTS)
    ended = await idle_stage.read(asked["requestId"])

    assert (cancelled["generation"], cancelled["cost"]) == (None, None)
    assert (ended["status"], known(ended["generation"])) == ("cancelled", GENERATION | {"resent": 0})
    assert ended["cost"] == SHOWN_COST


async def test_the_facts_of_a_url_that_is_kept_after_a_cancel_are_kept(stage: Stage) -> None:
    asked, event = await with_url(stage)
    await stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=stage.as_client("odoo"))
    await report(stage, event | FACTS)

    assert (await stage.read(asked["requestId"]))["cost"] == SHOWN_COST


async def test_without_facts_the_known_job_is_shown_and_delivered(
    idle_stage: Stage, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads, records = [], idle_stage.chain.odoo.records
    apply = records.apply
    monkeypatch.setattr(records, "apply", lambda payload: payloads.append(payload) or apply(payload))
    asked = await idle_stage.ask()
    await name_job(idle_stage, asked)
    await report(idle_stage, completed(asked, png))
    job = {"provider": "fal", "jobId": GENERATION_JOB["jobId"]}
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(asked["requestId"])

    assert known(ended["generation"]) == job | {"resent": 0}
    assert payloads[-1]["generation"] == job
    assert "cost" not in payloads[-1]


async def test_every_delivery_of_a_version_says_the_same_whatever_comes_later(
    idle_stage: Stage, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads, records = {}, idle_stage.chain.odoo.records
    apply = records.apply
    monkeypatch.setattr(
        records, "apply", lambda payload: payloads.update({payload["requestId"]: payload}) or apply(payload)
    )
    ended, cancelled = await idle_stage.ask(), await idle_stage.ask()
    await report(idle_stage, completed(ended, png))
    await name_job(idle_stage, ended)
    await idle_stage.api.post(f"{REQUESTS}/{cancelled['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    await report(idle_stage, completed(cancelled, png) | FACTS)
    async with working(idle_stage.settings):
        for asked in (ended, cancelled):
            await idle_stage.until_delivered(asked["requestId"])

    for asked in (ended, cancelled):
        assert not {"generation", "cost"} & payloads[asked["requestId"]].keys()


async def test_a_request_that_is_replayed_keeps_its_cost_but_not_how_the_lost_image_was_made(
    idle_stage: Stage, database: Database
) -> None:
    """Nobody has that image any more, but it was paid for."""
    asked, event = await with_url(idle_stage)
    await report(idle_stage, event | FACTS)
    await move(database, asked, Status.FAILED)
    answer = await replay(idle_stage, asked)

    assert (answer["status"], answer["generation"], answer["cost"]) == ("queued", None, SHOWN_COST)


async def test_resends_are_counted_with_and_without_a_job_until_a_person_replays(
    idle_stage: Stage, database: Database
) -> None:
    event = make_event()
    asked = await idle_stage.ask(**event)
    lost = (Status.DISPATCHED, Status.QUEUED)
    await move(database, asked, *lost, *lost, Status.DISPATCHED)
    unknown = (await idle_stage.read(asked["requestId"]))["generation"]
    await name_job(idle_stage, asked)
    repeated = await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))
    await move(database, asked, Status.FAILED)
    replayed = await replay(idle_stage, asked)

    assert known(unknown) == {"resent": 2}
    assert (repeated.status_code, repeated.json()["generation"]["resent"]) == (200, 2)
    assert known(replayed["generation"]) == {"provider": "fal", "jobId": GENERATION_JOB["jobId"], "resent": 0}


async def test_facts_that_cannot_be_read_do_not_keep_a_result_from_odoo(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, completed(asked, png) | FACTS)
    newer = {"amount": "1.00", "currency": "USD", "basis": "of a newer version"}
    await write(database, "UPDATE requests SET generation_facts = '5', cost = :cost", cost=json.dumps(newer))
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(asked["requestId"])

    assert (ended["status"], ended["generation"], ended["cost"]) == ("completed", None, None)
