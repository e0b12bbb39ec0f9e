"""The endpoints of the search, and of what operators did: who acted, on what, what changed, and why."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.sim.drawing import draw
from callbacks import failed
from stage import CALLBACK, REQUESTS, UNREACHABLE, Stage, make_event, make_settings, serve_api

OPS = "/api/v1/ops"
SEARCH, OPERATIONS, MODEL = f"{OPS}/requests", f"{OPS}/operations", f"{OPS}/models/{uuid4()}"
CLIENTS = {
    name: {"keys": [f"key-of-{name}"], "scopes": scopes, "odoo": odoo}
    for name, scopes, odoo in (
        ("odoo", ["requests"], None),
        ("odoo-north", ["requests"], "north"),
        ("both", ["requests", "ops"], None),
        ("ops", ["ops"], None),
        ("ops-north", ["ops"], "north"),
    )
}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    odoos = {"north": UNREACHABLE["odoo"] | {"database": "north"}}
    async with serve_api(make_settings(database_url, clients=CLIENTS, odoos=odoos)) as api:
        yield api


def key_of(client: str) -> dict[str, str]:
    return {"X-API-Key": f"key-of-{client}"}


async def ask(api: httpx.AsyncClient, client: str = "odoo", **fields: Any) -> dict[str, Any]:
    answer = await api.post(REQUESTS, json=make_event(**fields), headers=key_of(client))
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def get(api: httpx.AsyncClient, path: str, by: str = "ops", **query: Any) -> list[dict[str, Any]]:
    answer = await api.get(path, params=query, headers=key_of(by))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def do(api: httpx.AsyncClient, method: str, path: str, *, client: str = "ops", **how: Any) -> httpx.Response:
    answer = await api.request(method, path, headers=key_of(client), **how)
    assert answer.is_success, answer.text
    return answer


def changes(operations: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("client", "action", "target", "before", "after", "reason", "odoo")
    return [tuple(operation[name] for name in names) for operation in operations]


async def test_each_filter_finds_the_request_and_no_other(api: httpx.AsyncClient) -> None:
    user, model, campaign = (str(uuid4()) for _ in range(3))
    asked = await ask(api, prompt="A Lighthouse at dusk", userId=user, modelId=model, campaignId=campaign)
    await ask(api, prompt="A fox")
    for query in (
        {"q": asked["requestId"][:11].upper()},
        {"q": asked["correlationId"]},
        {"q": "dusk lighthouse", "status": "queued"},
        {"userId": user},
        {"modelId": model, "odoo": "default"},
        {"campaignId": campaign, "q": "", "createdAfter": "2020-01-01T00:00:00Z"},
    ):
        assert await get(api, SEARCH, **query) == [asked], query
    for query in ({"q": "light"}, {"odoo": "north"}, {"errorCode": "timed_out"}, {"q": "dusk", "status": "failed"}):
        assert await get(api, SEARCH, **query) == [], query


async def test_pages_follow_each_other_with_a_cursor(api: httpx.AsyncClient) -> None:
    asked = [(await ask(api, prompt="a fox"))["requestId"] for _ in range(5)]
    query, found = {"q": "fox", "limit": "2"}, []
    while True:
        page = (await do(api, "GET", SEARCH, params=query)).json()
        found.append([item["requestId"] for item in page["items"]])
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]
    assert found == [asked[:2:-1], asked[2:0:-1], asked[:1]]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (SEARCH, {"user_id": str(uuid4())}),
        (SEARCH, {"userId": "anna"}),
        (SEARCH, {"status": "lost"}),
        (SEARCH, {"createdAfter": "yesterday"}),
        (SEARCH, {"q": "x" * 4001}),
        (SEARCH, {"cursor": "x"}),
        (SEARCH, {"limit": "201"}),
        (OPERATIONS, {"user": "anna"}),
        (OPERATIONS, {"since": "yesterday"}),
        (OPERATIONS, {"requestId": "x"}),
        (OPERATIONS, {"cursor": "x"}),
        (OPERATIONS, {"cursor": "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgIngiXQ"}),
    ],
)
async def test_what_would_be_ignored_or_is_none_is_refused_by_name(
    api: httpx.AsyncClient, path: str, query: dict[str, str]
) -> None:
    answer = await api.get(path, params=query, headers=key_of("ops"))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(query)))


async def test_hostile_texts_are_answered(api: httpx.AsyncClient) -> None:
    for text in ("%", "'", "!&|", "🦊", "\0", "a:*", "x" * 200, "\\"):
        for path, names in ((SEARCH, ("q", "errorCode", "odoo")), (OPERATIONS, ("q", "client", "action", "target"))):
            for name in names:
                assert await get(api, path, **{name: text}) == []


async def test_an_operator_of_one_odoo_finds_its_requests_and_operations_only(api: httpx.AsyncClient) -> None:
    own, other = await ask(api, "odoo-north", prompt="a fox"), await ask(api, prompt="a fox")
    for asked in (own, other):
        await do(api, "POST", f"{REQUESTS}/{asked['requestId']}/cancel")
    await do(api, "PUT", MODEL, json=examples.MODEL)

    found = await get(api, SEARCH, "ops-north", q="fox")
    assert [item["requestId"] for item in found] == [own["requestId"]]
    assert await get(api, SEARCH, "ops-north", q="fox", odoo="default") == []
    assert await get(api, SEARCH, "ops-north", q=other["requestId"]) == []
    assert [each["requestId"] for each in await get(api, OPERATIONS, "ops-north")] == [own["requestId"]]
    assert len(await get(api, OPERATIONS)) == 3


async def test_a_cancel_is_recorded_if_an_operator_asks_for_it(api: httpx.AsyncClient) -> None:
    first, second, third = [await ask(api) for _ in range(3)]
    for client, asked in (("odoo", first), ("both", second), ("ops", third)):
        await do(api, "POST", f"{REQUESTS}/{asked['requestId']}/cancel", client=client)
    again = await api.post(f"{REQUESTS}/{third['requestId']}/cancel", headers=key_of("ops"))

    assert again.status_code == 409
    [recorded] = await get(api, OPERATIONS)
    assert recorded["requestId"] == third["requestId"]
    assert changes([recorded]) == [
        ("ops", "cancel", "request", {"status": "queued"}, {"status": "cancelled"}, None, "default")
    ]


async def test_models_and_budgets_record_the_fields_that_changed(api: httpx.AsyncClient) -> None:
    await do(api, "PUT", MODEL, json=examples.MODEL)
    await do(api, "PUT", MODEL, json=examples.MODEL | {"name": "Renamed", "active": False})
    await do(api, "DELETE", MODEL)
    budget = examples.BUDGET | {"match": {"odoo": "north"}}
    await do(api, "PUT", f"{OPS}/budgets/spring?force=true", json=budget)
    await do(api, "PUT", f"{OPS}/budgets/spring?force=true", json=budget | {"limit": "7.5"})
    await do(api, "DELETE", f"{OPS}/budgets/spring", client="ops-north")

    removed, raised, put, no_model, renamed, added = await get(api, OPERATIONS)
    assert (added["before"], added["after"]) == (None, examples.MODEL | {"active": True})
    assert renamed["before"] == {"name": examples.MODEL["name"], "active": True}
    assert renamed["after"] == {"name": "Renamed", "active": False}
    assert (no_model["before"]["name"], no_model["after"]) == ("Renamed", None)
    assert (put["before"], put["after"]["match"], put["odoo"]) == (None, {"odoo": "north"}, "north")
    assert (raised["before"], raised["after"]) == ({"limit": budget["limit"]}, {"limit": "7.50"})
    assert (removed["client"], removed["before"]["limit"], removed["after"]) == ("ops-north", "7.50", None)
    assert {each["odoo"] for each in (no_model, renamed, added)} == {None}


async def test_replays_discards_and_completions_record_what_they_changed_and_why(idle_stage: Stage) -> None:
    api, ops, n8n = idle_stage.api, idle_stage.as_client("ops"), idle_stage.as_client("n8n")
    asked = await idle_stage.ask()
    path = f"{SEARCH}/{asked['requestId']}"
    image = draw("a", seed=1, width=64, height=64)
    completed = await api.post(f"{path}/complete?reason=By+hand", content=image, headers=ops)
    refused = await api.post(CALLBACK, json=failed(asked) | {"correlationId": str(uuid4())}, headers=n8n)
    [letter] = (await api.get(f"{OPS}/dead-letters", headers=ops)).json()["items"]
    name = letter["id"]
    discarded = await api.post(f"{OPS}/dead-letters/{name}/discard", json={"reason": "100% a test"}, headers=ops)

    assert (completed.status_code, refused.is_success, discarded.status_code) == (200, False, 200)
    found = (await api.get(OPERATIONS, headers=ops)).json()["items"]
    assert changes(found) == [
        ("ops", "discard", name, {"state": "open"}, {"state": "discarded"}, "100% a test", "default"),
        ("ops", "complete", "request", {"status": "queued"}, {"status": "completed"}, "By hand", "default"),
    ]
    for query, expected in (
        ({"q": "00% A"}, found[:1]),
        ({"q": "%"}, found[:1]),
        ({"action": "complete", "client": "ops"}, found[1:]),
        ({"target": name}, found[:1]),
        ({"requestId": asked["requestId"]}, found),
        ({"since": found[0]["at"]}, found[:1]),
        ({"until": found[0]["at"]}, found[1:]),
        ({"limit": 1}, found[:1]),
    ):
        assert (await api.get(OPERATIONS, params=query, headers=ops)).json()["items"] == expected
    first = (await api.get(OPERATIONS, params={"limit": 1}, headers=ops)).json()
    second = (await api.get(OPERATIONS, params={"cursor": first["nextCursor"]}, headers=ops)).json()
    assert (second["items"], second["nextCursor"]) == (found[1:], None)
