"""N8N asks before it pays, names its job, and reports progress, over HTTP."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.domain.signature import new_secret
from aigen_bridge.store.database import Database
from callbacks import completed, failed, report, signed
from outages import rows, write
from stage import CLIENTS, KEYS, REQUESTS, Stage, staged

SECRET, OTHER = new_secret(), new_secret()
QUEUE = "https://queue.fal.run/fal-ai/flux-lora/requests"
ENDPOINTS = {"ask": ("POST", ""), "job": ("PUT", "/job"), "progress": ("PUT", "/progress")}
JSON = {"Content-Type": "application/json"}


def job(number: int = 1) -> dict[str, str]:
    url = f"{QUEUE}/{number}"
    urls = {"statusUrl": f"{url}/status", "responseUrl": url, "cancelUrl": f"{url}/cancel"}
    return {"provider": "fal", "jobId": str(number), **urls}


FIELDS: dict[str, dict[str, str]] = {"ask": {}, "job": job(), "progress": {"stage": "queued"}}


async def call(
    stage: Stage,
    what: str,
    asked: dict[str, Any],
    /,
    *,
    headers: dict[str, str] | None = None,
    secret: str | None = None,
    **fields: Any,
) -> httpx.Response:
    """Calls one of the three endpoints as execution 1 does, with the fields that it needs and these."""
    method, path = ENDPOINTS[what]
    ids = {"correlationId": asked["correlationId"], "executionId": "1"}
    body = json.dumps(ids | FIELDS[what] | fields).encode()
    headers = (headers or stage.as_client("n8n")) | JSON | (signed(body, secret) if secret else {})
    url = f"{REQUESTS}/{asked['requestId']}/generation{path}"
    return await stage.api.request(method, url, content=body, headers=headers)


async def test_one_execution_starts_and_the_others_wait_then_resume(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    ids = {"requestId": asked["requestId"], "status": "dispatched"}
    granted = await call(idle_stage, "ask", asked, askKey="a")
    again = await call(idle_stage, "ask", asked, askKey="a")
    waiting = await call(idle_stage, "ask", asked, executionId="2", askKey="b")
    named = await call(idle_stage, "job", asked)
    resumed = await call(idle_stage, "ask", asked, executionId="2", askKey="c")

    assert granted.json() == ids | {"decision": "start", "validFor": 60}
    assert (granted.status_code, again.json()) == (200, granted.json())
    assert waiting.json() == ids | {"decision": "wait", "retryAfter": 5}
    assert named.json() == ids | {"wanted": True}
    assert resumed.json() == ids | {"decision": "resume", "providerJob": job()}
    assert granted.headers["x-correlation-id"] == asked["correlationId"]


async def test_another_job_is_a_409_with_the_known_one_until_that_one_has_ended(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await call(idle_stage, "ask", asked, askKey="a")
    await call(idle_stage, "ask", asked, askKey="b", noJob=True)
    first, again = [await call(idle_stage, "job", asked) for _ in range(2)]
    other = await call(idle_stage, "job", asked, executionId="2", **job(2))
    after = await call(idle_stage, "ask", asked, askKey="c", endedJob="1")

    assert (first.status_code, again.json()) == (200, first.json())
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    problem = other.json()
    assert (problem["code"], problem["requestId"]) == ("job_contradicts", asked["requestId"])
    assert problem["providerJob"] == job()
    assert problem["action"] == "Cancel the job that you named at the provider, and end."
    assert after.json()["decision"] == "start"


async def test_the_urls_of_a_job_have_the_origin_of_the_models_endpoint(idle_stage: Stage) -> None:
    model_id = examples.REQUESTED["modelId"]
    provider = {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux-lora"}
    entry = {"name": "Flux", "provider": provider, "supports": {"negativePrompt": True}}
    headers = idle_stage.as_client("ops")
    await idle_stage.api.put(f"/api/v1/ops/models/{model_id}", json=entry, headers=headers)
    asked = await idle_stage.ask()

    elsewhere = {"statusUrl": "https://fal.example/1/status", "responseUrl": "https://fal.example/1", "cancelUrl": None}
    refused = await call(idle_stage, "job", asked, **elsewhere)
    named = await call(idle_stage, "job", asked)

    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["statusUrl", "responseUrl"]
    assert named.status_code == 200


@pytest.mark.parametrize("model", [{"price": {}}, {"provider": None}, {"provider": {"endpoint": "//fal"}}], ids=str)
async def test_a_job_is_recorded_although_the_entry_of_its_model_has_no_endpoint(
    idle_stage: Stage, database: Database, model: dict[str, Any]
) -> None:
    asked = await idle_stage.ask()
    await write(database, "UPDATE requests SET model = CAST(:model AS jsonb)", model=json.dumps(model))
    assert (await call(idle_stage, "job", asked)).status_code == 200


async def test_once_cancelled_nothing_is_started_and_a_running_job_is_not_wanted(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await call(idle_stage, "ask", asked)
    await idle_stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    answers = [await call(idle_stage, what, asked, executionId="1") for what in ("job", "progress")]
    stopped = await call(idle_stage, "ask", asked, executionId="2")

    unwanted = {"requestId": asked["requestId"], "status": "cancelled", "wanted": False}
    assert [answer.json() for answer in answers] == [unwanted, unwanted]
    assert stopped.json() == {"requestId": asked["requestId"], "status": "cancelled", "decision": "stop"}


async def test_the_resource_shows_the_job_and_its_progress(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await call(idle_stage, "ask", asked)
    await call(idle_stage, "job", asked)
    await call(idle_stage, "progress", asked, queuePosition=3, percent=200, message="soon")

    shown = await idle_stage.read(asked["requestId"])
    listed = (await idle_stage.api.get(REQUESTS, headers=idle_stage.as_client("ops"))).json()["items"]
    assert (asked["progress"], asked["generation"]) == (None, None)
    assert [item["progress"] for item in listed] == [shown["progress"]]
    reported_at = shown["progress"].pop("reportedAt")
    assert shown["progress"] == {"stage": "queued", "queuePosition": 3, "percent": None, "message": "soon"}
    known = {name: value for name, value in shown["generation"].items() if value is not None}
    assert known == {"provider": "fal", "jobId": "1", "resent": 0}
    assert reported_at > asked["createdAt"]


async def test_a_call_that_is_wrong_is_refused_and_changes_nothing(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    for what in ENDPOINTS:
        keys = ({"X-Other": "no key"}, idle_stage.as_client("odoo"), idle_stage.as_client("ops"))
        strangers = [await call(idle_stage, what, asked, headers=headers) for headers in keys]
        assert [answer.status_code for answer in strangers] == [401, 403, 403]
        assert (await call(idle_stage, what, asked, more="x" * 70_000)).status_code == 413
        unknown = await call(idle_stage, what, asked | {"requestId": str(uuid4())})
        mistaken = await call(idle_stage, what, asked, correlationId=str(uuid4()))
        wrong = await call(idle_stage, what, asked, executionId=None)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "request_unknown")
        assert (mistaken.status_code, mistaken.json()["code"]) == (409, "correlation_mismatch")
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "executionId")
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_a_job_is_signed_where_a_callback_is_and_the_calls_have_a_limit_of_their_own(database_url: str) -> None:
    n8n = {"keys": [KEYS["n8n"]], "scopes": ["callbacks"], "signing_secrets": [SECRET], "signature_required": True}
    limits = {"rate_limit": "8/minute"}
    async with staged(database_url, clients=CLIENTS | {"n8n": n8n}, generation=limits) as stage:
        asked = await stage.ask()
        named = [await call(stage, "job", asked, secret=secret) for secret in (None, OTHER, SECRET, SECRET)]
        others = [await call(stage, w, asked, secret=s) for w in ("ask", "progress") for s in (None, OTHER)]
        over = await call(stage, "ask", asked)
        wanted = await stage.api.get(f"{REQUESTS}/{asked['requestId']}/wanted", headers=stage.as_client("n8n"))

    assert [answer.status_code for answer in named] == [401, 401, 200, 200]
    assert [answer.status_code for answer in others] == [200, 401, 200, 401]
    assert named[0].json()["code"] == "signature_invalid"
    assert (over.status_code, int(over.headers["retry-after"]) > 0, wanted.status_code) == (429, True, 200)


async def test_a_failure_from_another_execution_than_the_holder_is_a_duplicate(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await call(idle_stage, "ask", asked, executionId="2")
    await call(idle_stage, "job", asked, executionId="2")
    stranger, again = [await report(idle_stage, failed(asked, executionId="1")) for _ in range(2)]
    url = f"{REQUESTS}/{asked['requestId']}/timeline"
    story = (await idle_stage.api.get(url, headers=idle_stage.as_client("ops"))).json()["generation"]
    holder = await report(idle_stage, failed(asked, executionId="2"))
    ids = {"requestId": asked["requestId"]}
    assert (stranger.status_code, stranger.json()) == (202, ids | {"status": "dispatched", "duplicate": True})
    assert (again.status_code, again.json()) == (202, stranger.json())
    assert [each["note"] for each in story if "execution 1 failed" in each["note"]] == [
        "N8N execution 1 failed (content_policy), which does not count: execution 2 generates the image"
    ]
    assert (holder.status_code, holder.json()) == (202, ids | {"status": "failed", "duplicate": False})


async def test_a_refused_image_ends_the_resumes_and_a_good_one_counts_from_anybody(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    asked = await idle_stage.ask()
    await call(idle_stage, "ask", asked)
    await call(idle_stage, "job", asked)
    refused = await report(idle_stage, completed(asked, png, hashValue="0" * 64, executionId="1"))
    suspended = await rows(database, "SELECT state, is_suspended FROM generations")
    good = await report(idle_stage, completed(asked, png, executionId="another"))
    assert (refused.json()["code"], suspended) == ("image_rejected", [("running", True)])
    assert good.json()["status"] == "completed"
