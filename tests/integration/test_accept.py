"""Odoo → bridge: what is answered with 202 is stored; what is not stored is not answered with 202."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.store.database import Database
from stage import KEYS, REQUESTS, Stage, make_event, make_settings, serve_api


async def post(stage: Stage, event: Any) -> httpx.Response:
    return await stage.api.post(REQUESTS, json=event, headers=stage.as_client("odoo"))


async def test_a_new_request_is_answered_with_202_its_resource_and_its_location(idle_stage: Stage) -> None:
    event = make_event()
    answer = await post(idle_stage, event)

    resource = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{REQUESTS}/{event['requestId']}"
    assert (resource["status"], resource["version"]) == ("queued", 1)
    assert {name: resource[name] for name in event} == event
    read = await idle_stage.api.get(answer.headers["location"], headers=idle_stage.as_client("odoo"))
    assert read.json() == resource


async def test_the_same_request_again_is_answered_with_200_and_changes_nothing(idle_stage: Stage) -> None:
    event = make_event()
    first = await post(idle_stage, event)
    again = await post(idle_stage, event)

    assert (again.status_code, again.json()) == (200, first.json())


async def test_the_same_id_with_other_content_is_a_409_that_names_the_difference(idle_stage: Stage) -> None:
    event = make_event()
    await post(idle_stage, event)
    answer = await post(idle_stage, event | {"prompt": "Something else", "seed": 7})

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "prompt, seed differ" in answer.json()["detail"]
    assert answer.json()["requestId"] == event["requestId"]


async def test_the_same_request_25_times_at_once_is_stored_once(idle_stage: Stage, database: Database) -> None:
    event = make_event()
    answers = await asyncio.gather(*(post(idle_stage, event) for _ in range(25)))

    assert sorted(a.status_code for a in answers) == [200] * 24 + [202]
    async with database.reading() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM outbox")) == 1


async def test_of_25_contradicting_requests_at_once_one_wins_and_the_others_are_409(idle_stage: Stage) -> None:
    event = make_event()
    answers = await asyncio.gather(*(post(idle_stage, event | {"seed": n}) for n in range(25)))

    assert sorted(a.status_code for a in answers) == [202] + [409] * 24


async def test_no_202_when_the_commit_fails(idle_stage: Stage, database: Database) -> None:
    """A constraint that is checked only at the commit stands for every way in which a commit can fail."""
    async with database.transaction() as connection:
        await connection.execute(
            text("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$""")
        )
        await connection.execute(
            text("""CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON requests
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()""")
        )
    event = make_event()
    answer = await post(idle_stage, event)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    async with database.reading() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM requests")) == 0


async def test_without_a_database_the_answer_is_503_with_retry_after() -> None:
    settings = make_settings("postgresql://nobody@127.0.0.1:9/none")
    async with serve_api(settings) as api:
        answer = await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})

    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert "Send the same again" in answer.json()["action"]


async def test_without_tables_the_answer_says_to_migrate(empty_database_url: str) -> None:
    async with serve_api(make_settings(empty_database_url)) as api:
        answer = await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})
        ready = await api.get("/health/ready")
        live = await api.get("/health/live")

    assert answer.status_code == ready.status_code == 503
    assert "aigen-bridge migrate" in answer.json()["detail"]
    assert "aigen-bridge migrate" in ready.json()["detail"]
    assert live.status_code == 200


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"requestId": "not-a-uuid"}, "requestId", "UUID"),
    ({"requestId": "{5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11}"}, "requestId", "UUID"),
    ({"requestId": 7}, "requestId", "UUID"),
    ({"userId": ""}, "userId", "UUID"),
    ({"prompt": ""}, "prompt", "1 to 4000"),
    ({"prompt": "  \n"}, "prompt", "not blank"),
    ({"prompt": "x" * 4001}, "prompt", "1 to 4000"),
    ({"prompt": "a\x00b"}, "prompt", "1 to 4000"),
    ({"negativePrompt": "x" * 4001}, "negativePrompt", "at most 4000"),
    ({"resolution": "1024"}, "resolution", "WIDTHxHEIGHT"),
    ({"resolution": "1024 x 1024"}, "resolution", "WIDTHxHEIGHT"),
    ({"resolution": "32x32"}, "resolution", "64 to 4096"),
    ({"resolution": "9999x9999"}, "resolution", "64 to 4096"),
    ({"aspectRatio": "16:9"}, "aspectRatio", "fit the resolution"),
    ({"aspectRatio": "1:0"}, "aspectRatio", "WIDTH:HEIGHT"),
    ({"aspectRatio": "square"}, "aspectRatio", "WIDTH:HEIGHT"),
    ({"seed": -1}, "seed", "0 to 9007199254740991"),
    ({"seed": 2**53}, "seed", "0 to 9007199254740991"),
    ({"seed": 1.5}, "seed", "whole number"),
    ({"seed": True}, "seed", "whole number"),
    ({"seed": "7"}, "seed", "whole number"),
    ({"inferenceSteps": 0}, "inferenceSteps", "1 to 100"),
    ({"inferenceSteps": 101}, "inferenceSteps", "1 to 100"),
    ({"cfgScale": -0.1}, "cfgScale", "0 to 35"),
    ({"cfgScale": 36}, "cfgScale", "0 to 35"),
    ({"campaignId": "spring"}, "campaignId", "UUID"),
    ({"callbackUrl": "https://elsewhere.example/callback"}, "callbackUrl", "this service"),
    ({"promt": "a typo"}, "promt", "prompt"),
]


@pytest.mark.parametrize(("wrong", "field", "allowed"), WRONG, ids=[f"{w[1]}-{n}" for n, w in enumerate(WRONG)])
async def test_a_wrong_field_is_named_with_what_was_sent_and_what_is_allowed(
    idle_stage: Stage, wrong: dict[str, Any], field: str, allowed: str
) -> None:
    answer = await post(idle_stage, make_event() | wrong)

    problem = answer.json()
    assert answer.status_code == 422
    [error] = [e for e in problem["errors"] if e["field"] == field]
    assert allowed in error["allowed"]
    assert error["sent"]
    assert len(error["sent"]) <= 101
    assert field in problem["detail"]


async def test_every_missing_field_is_named(idle_stage: Stage) -> None:
    answer = await post(idle_stage, {})

    assert answer.status_code == 422
    assert {e["field"] for e in answer.json()["errors"]} == {
        "requestId",
        "correlationId",
        "userId",
        "prompt",
        "modelId",
        "resolution",
        "aspectRatio",
    }


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"a": 1}}', b"\xff\xfe", b"[" * 50_000])
async def test_what_is_not_json_is_a_400(idle_stage: Stage, body: bytes) -> None:
    headers = idle_stage.as_client("odoo") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post(REQUESTS, content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["code"] == "not_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7"])
async def test_json_that_is_no_object_is_a_422(idle_stage: Stage, body: bytes) -> None:
    headers = idle_stage.as_client("odoo") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post(REQUESTS, content=body, headers=headers)

    assert answer.status_code == 422


async def test_a_body_over_the_limit_is_a_413(idle_stage: Stage) -> None:
    answer = await post(idle_stage, make_event(prompt="x" * 270_000))

    assert answer.status_code == 413


async def test_another_media_type_is_a_415(idle_stage: Stage) -> None:
    headers = idle_stage.as_client("odoo") | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await idle_stage.api.post(REQUESTS, content=b"{}", headers=headers)

    assert answer.status_code == 415


async def test_our_own_callback_url_is_accepted_and_not_stored(idle_stage: Stage) -> None:
    event = make_event(callbackUrl=idle_stage.settings.callback_url)
    first = await post(idle_stage, event)
    without = await post(idle_stage, {k: v for k, v in event.items() if k != "callbackUrl"})

    assert (first.status_code, without.status_code) == (202, 200)


async def test_null_means_absent(idle_stage: Stage) -> None:
    event = make_event(seed=None)
    first = await post(idle_stage, event | {"seed": None})
    again = await post(idle_stage, event)

    assert (first.status_code, again.status_code) == (202, 200)


@pytest.mark.parametrize(
    ("resolution", "ratio"),
    [("1024x1024", "1:1"), ("1344x768", "16:9"), ("1152x896", "4:3"), ("1152x896", "5:4"), ("768x1344", "9:16")],
)
async def test_sizes_as_models_round_them_fit_their_ratio(idle_stage: Stage, resolution: str, ratio: str) -> None:
    answer = await post(idle_stage, make_event(resolution=resolution, aspectRatio=ratio))

    assert answer.status_code == 202
