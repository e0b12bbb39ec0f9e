"""Something for every page of the console to show, made by the real API, worker and simulators."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from aigen_bridge.contracts import examples
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.session import Role
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.sessions import Sessions
from callbacks import completed, failed, report
from stage import KEYS, REQUESTS, Stage

OPS = {"X-API-Key": KEYS["ops"]}
MODEL_ID = examples.REQUESTED["modelId"]
SECRET = "Zwergpinguin"
"""A word of the planted prompts that is nowhere else."""
HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)></textarea></title>--> \N{RIGHT-TO-LEFT OVERRIDE}txt.exe "
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} {{ 7 * 7 }} =1+1"
)


@dataclass(frozen=True)
class Words:
    """The texts of people and of other systems that are planted."""

    prompt: str = f"{SECRET} {HOSTILE}"
    error: str = f"Refused: {SECRET} {HOSTILE}"
    reason: str = f"Reason {HOSTILE}"
    model: str = f"Model {HOSTILE}"
    contact: str = f"Contact {HOSTILE}"
    person: str = f"oidc:{HOSTILE}"
    header: str = "Header <script>alert(1)</script>\"'>"


@dataclass(frozen=True)
class Planted:
    """Names of what was planted: values for the path parameters of the console, by the segment before them."""

    names: dict[str, list[str]] = field(default_factory=dict)


async def plant(stage: Stage, png: bytes, words: Words | None = None) -> Planted:
    """Makes requests that end in every way, dead letters of several kinds, a model, a budget, actions and sessions.

    The stage needs a worker.
    """
    words = words or Words()
    await _catalogue(stage, words)
    requests = [await plant_one(stage, words) for plant_one in (_delivered, _dead_at_dispatch, _dead_at_delivery)]
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))  # the rest is reported here
    requests += [await _refused_by_n8n(stage, words), await _running(stage, words)]
    await _quarantined(stage, png, words)
    await _reported_by_n8n(stage, words)
    letters = await _letters(stage)
    await _discarded(stage, letters.pop(), words)
    await _replayed(stage, words)
    await _paused(stage, words)
    await open_session(stage, words.person, Role.OPERATOR)
    return Planted(
        {
            "requests": [*requests, str(uuid4())],
            "dead-letters": [*letters, "entry-9999"],
            "destinations": ["n8n", "odoo", "odoo:default"],
            "models": [MODEL_ID, str(uuid4())],
            "budgets": ["marketing", "no-such-budget"],
            "sessions": ["1", "9999"],
            "replays": ["1", "9999"],
        }
    )


async def _catalogue(stage: Stage, words: Words) -> None:
    model = {key: value for key, value in examples.MODEL.items() if key not in {"resolutions", "steps", "cfgScale"}}
    model |= {"provider": {"kind": "fal", "endpoint": f"{stage.chain.flux_url}/queue/fal-ai/flux-lora"}, "loras": []}
    model |= {"name": words.model[:100], "description": words.model, "supports": {"negativePrompt": True, "seed": True}}
    put = await stage.api.put(f"/api/v1/ops/models/{MODEL_ID}", json=model, headers=OPS)
    assert put.status_code == 200, put.text
    terms = {"limit": "100.00", "currency": "USD", "period": "month", "contact": words.contact, "kind": "soft"}
    put = await stage.api.put("/api/v1/ops/budgets/marketing", json=terms, headers=OPS)
    assert put.status_code == 200, put.text


async def _ask(stage: Stage, words: Words) -> dict[str, Any]:
    return await stage.ask(prompt=words.prompt, modelId=MODEL_ID, campaignId=str(uuid4()))


async def _delivered(stage: Stage, words: Words) -> str:
    asked = await _ask(stage, words)
    ended = await stage.until_delivered(asked["requestId"])
    assert ended["status"] == "completed", ended
    return str(asked["requestId"])


async def _unanswered(stage: Stage, words: Words) -> dict[str, Any]:
    """A request that N8N has, and about which it says nothing."""
    asked = await _ask(stage, words)
    return await stage.until(asked["requestId"], lambda found: found["status"] == "dispatched")


async def _running(stage: Stage, words: Words) -> str:
    asked = await _unanswered(stage, words)
    progress = {"executionId": "231", "stage": "generating", "percent": 50, "message": words.error[:100]}
    path = f"{REQUESTS}/{asked['requestId']}/generation/progress"
    body = {"correlationId": asked["correlationId"]} | progress
    answer = await stage.api.put(path, json=body, headers=stage.as_client("n8n"))
    assert answer.status_code == 200, answer.text
    return str(asked["requestId"])


async def _refused_by_n8n(stage: Stage, words: Words) -> str:
    asked = await _unanswered(stage, words)
    answer = await report(stage, failed(asked, errorCode="content_policy", errorMessage=words.error))
    assert answer.status_code < 300, answer.text
    await stage.until_delivered(asked["requestId"])
    return str(asked["requestId"])


async def _dead_at_dispatch(stage: Stage, words: Words) -> str:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.BODY, route="webhook", status=403, detail=json.dumps(words.error)))
    asked = await _ask(stage, words)
    await stage.until_delivered(asked["requestId"])
    return str(asked["requestId"])


async def _dead_at_delivery(stage: Stage, words: Words) -> str:
    """Odoo refuses the result for good."""
    name = "odoo.exceptions.ValidationError"
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail=words.error, times=None))
    asked = await _ask(stage, words)
    await _until_letter(stage, "deliver")
    await _until_letter(stage, "deliver")
    stage.chain.odoo.faults.clear()
    return str(asked["requestId"])


async def _quarantined(stage: Stage, png: bytes, words: Words) -> None:
    """A result whose image is not the promised one, and one that is nothing."""
    asked = await _unanswered(stage, words)
    wrong = completed(asked, png, hashValue="0" * 64, prompt=words.prompt, note=words.error)
    header = {"User-Agent": words.header, "X-Forwarded-For": words.header}
    assert (await report(stage, wrong, **header)).status_code >= 400
    useless = {"requestId": words.error, "prompt": words.prompt, "note": "a lone surrogate \ud800"}
    assert (await report(stage, useless, **header)).status_code >= 400


async def _reported_by_n8n(stage: Stage, words: Words) -> None:
    asked = await _unanswered(stage, words)
    told = {
        "workflow": words.model,
        "executionId": "231",
        "executionUrl": "https://n8n.example.com/workflow/aigen-main/executions/231",
        "node": words.model,
        "errorName": words.error,
        "errorMessage": words.error,
        "requestId": asked["requestId"],
        "result": failed(asked, errorMessage=words.error),
    }
    answer = await stage.api.post("/api/v1/ops/n8n-failures", json=told, headers=stage.as_client("n8n"))
    assert answer.status_code == 202, answer.text


async def _letters(stage: Stage, **query: str) -> list[str]:
    answer = await stage.api.get("/api/v1/ops/dead-letters", params=query, headers=OPS)
    return [str(item["id"]) for item in answer.json()["items"]]


async def _until_letter(stage: Stage, kind: str) -> None:
    async with asyncio.timeout(20):
        while not await _letters(stage, kind=kind):
            await asyncio.sleep(0.02)


async def _discarded(stage: Stage, letter: str, words: Words) -> None:
    path = f"/api/v1/ops/dead-letters/{letter}/discard"
    answer = await stage.api.post(path, json={"reason": words.reason}, headers=OPS)
    assert answer.status_code < 300, answer.text


async def _replayed(stage: Stage, words: Words) -> None:
    """Callbacks that are as unusable as before are replayed in the background."""
    body = {"kind": "callback", "maxPerSecond": 50, "reason": words.reason}
    answer = await stage.api.post("/api/v1/ops/replays", json=body, headers=OPS)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(20):
        while (await stage.api.get(answer.headers["location"], headers=OPS)).json()["state"] != "finished":
            await asyncio.sleep(0.02)


async def _paused(stage: Stage, words: Words) -> None:
    for action in ("pause", "resume", "pause"):
        path = f"/api/v1/ops/destinations/odoo/{action}"
        answer = await stage.api.post(path, json={"reason": words.reason}, headers=OPS)
        assert answer.status_code < 300, answer.text


async def open_session(stage: Stage, name: str, role: Role) -> str:
    """Opens a session as a sign-in without a key does, and returns its token."""
    async with _database(stage) as database:
        return await Sessions(database).open(name, role, odoo=None, key_digest=None, note="by a test")


async def execute(stage: Stage, statement: str) -> Any:
    """Reads or changes the tables directly. Returns the rows that the statement returns."""
    async with _database(stage) as database, database.transaction() as connection:
        return (await connection.execute(text(statement))).all()


async def revoke_all(stage: Stage) -> None:
    """Ends every session, as another operator does."""
    async with _database(stage) as database:
        sessions = Sessions(database)
        for session in await sessions.current(None):
            assert await sessions.revoke(session.id, OperatorAction("somebody else", "a lost laptop"))


@asynccontextmanager
async def _database(stage: Stage) -> AsyncIterator[Database]:
    database = Database(open_engine(stage.settings.database_url.get_secret_value(), pool_size=1, name="test"))
    try:
        yield database
    finally:
        await database.close()
