"""Who may call what."""

import hashlib

import httpx
import pytest

from stage import CALLBACK, CLIENTS, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api

ONE = f"{REQUESTS}/5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11"
CALLS = [
    ("POST", REQUESTS, {"odoo"}),
    ("GET", REQUESTS, {"odoo", "ops"}),
    ("GET", ONE, {"odoo", "ops"}),
    ("GET", f"{ONE}/image", {"odoo", "ops"}),
    ("GET", f"{ONE}/timeline", {"odoo", "ops"}),
    ("POST", f"{ONE}/cancel", {"odoo", "ops"}),
    ("POST", CALLBACK, {"n8n"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), CALLS)
async def test_each_endpoint_lets_in_the_scopes_of_the_interface_and_no_others(
    idle_stage: Stage, method: str, path: str, allowed: set[str]
) -> None:
    for name in KEYS:
        answer = await idle_stage.api.request(method, path, headers=idle_stage.as_client(name))
        assert (answer.status_code != 403) == (name in allowed), (name, answer.text)
        assert answer.status_code != 401


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p, _ in CALLS])
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"X-API-Key": ""}])
async def test_no_key_or_an_unknown_one_is_a_401(
    idle_stage: Stage, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = await idle_stage.api.request(method, path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "wrong" not in answer.text


async def test_a_key_works_as_bearer_token_and_as_api_key(idle_stage: Stage) -> None:
    for headers in ({"Authorization": f"Bearer {KEYS['ops']}"}, {"X-API-Key": KEYS["ops"]}):
        assert (await idle_stage.api.get(REQUESTS, headers=headers)).status_code == 200


async def test_two_keys_of_a_client_are_valid_at_once_and_one_may_be_given_as_its_hash(database_url: str) -> None:
    hashed = "sha256:" + hashlib.sha256(b"new-key").hexdigest()
    clients = CLIENTS | {"odoo": {"keys": ["old-key", hashed], "scopes": ["requests"]}}
    async with serve_api(make_settings(database_url, clients=clients)) as api:
        answers = [
            await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": key})
            for key in ("old-key", "new-key", hashed)
        ]

    assert [a.status_code for a in answers] == [202, 202, 401]


async def test_health_and_documentation_need_no_key(idle_stage: Stage) -> None:
    for path in ("/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json"):
        assert (await idle_stage.api.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_documentation_loads_nothing_from_elsewhere(idle_stage: Stage, path: str) -> None:
    page = (await idle_stage.api.get(path)).text
    links = [part.split('"')[0] for mark in ('src="', 'href="') for part in page.split(mark)[1:]]

    assert links
    for link in links:
        assert link.startswith("/"), link
        assert (await idle_stage.api.get(link)).status_code == 200


async def test_the_correlation_id_is_returned_on_every_answer(idle_stage: Stage) -> None:
    async def answered(**headers: str) -> httpx.Response:
        return await idle_stage.api.get("/no/such/place", headers=headers)

    given = await answered(**{"X-Correlation-ID": "abc-123"})
    made, hostile = await answered(), await answered(**{"X-Correlation-ID": "a b<script>"})
    assert given.headers["x-correlation-id"] == given.json()["correlationId"] == "abc-123"
    assert given.status_code == 404
    assert len(made.headers["x-correlation-id"]) == len(hostile.headers["x-correlation-id"]) == 36


async def test_an_accepted_request_answers_under_its_own_correlation_id(idle_stage: Stage) -> None:
    event = make_event()
    answer = await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))

    assert answer.headers["x-correlation-id"] == event["correlationId"]


async def test_a_bug_is_a_problem_document_without_a_traceback(
    idle_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("aigen_bridge.store.requests.Requests.page", broken)
    answer = await idle_stage.api.get(REQUESTS, headers=idle_stage.as_client("ops"))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-correlation-id"] == answer.json()["correlationId"]
    assert "secret" not in answer.text
