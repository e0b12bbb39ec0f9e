"""Budgets over HTTP and by the command: changing and reading them, and what a refused request is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.contracts import examples
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import CLIENTS, KEYS, REQUESTS, UNREACHABLE, make_event, make_settings, serve_api

BUDGETS, COUNTING = "/api/v1/ops/budgets", "/api/v1/influencegen/budgets"
TERMS: dict[str, Any] = {"limit": "0.05", "currency": "USD", "period": "month"}
NEW_ADDON = {"X-Aigen-Addon": "1.5.0"}
LIMITED = {"north-ops": {"keys": ["key-of-north-ops"], "scopes": ["ops"], "odoo": "north"}}


class Api:
    """The API with the calls of these tests."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, *, by: str = "ops", **options: Any) -> httpx.Response:
        """Calls as a client."""
        headers = {"X-API-Key": KEYS.get(by, f"key-of-{by}")} | options.pop("headers", {})
        return await self._client.request(method, path, headers=headers, **options)

    async def put(self, name: str = "marketing", *, by: str = "ops", **terms: Any) -> httpx.Response:
        """Puts a budget."""
        return await self.call("PUT", f"{BUDGETS}/{name}", by=by, json=TERMS | terms)

    async def ask(self, **options: Any) -> httpx.Response:
        """Requests an image."""
        event = options.pop("event", None) or make_event()
        return await self.call("POST", REQUESTS, by="odoo", json=event, headers=options.get("headers", NEW_ADDON))


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    settings = make_settings(
        database_url,
        clients=CLIENTS | LIMITED,
        odoos={"north": UNREACHABLE["odoo"]},
        money={"rates": {"EUR/USD": "1.08"}, "time_zone": "Europe/Berlin"},
    )
    async with serve_api(settings) as client:
        api = Api(client)
        model = examples.MODEL | {"price": {"amount": "0.035", "currency": "USD", "per": "image"}}
        model = {key: value for key, value in model.items() if key not in {"resolutions", "steps", "cfgScale"}}
        model["supports"] = {"negativePrompt": True}
        put = await api.call("PUT", f"/api/v1/ops/models/{examples.REQUESTED['modelId']}", json=model)
        assert put.status_code == 200, put.text
        yield api


async def test_a_refused_request_is_a_402_with_what_a_person_needs_to_know(api: Api) -> None:
    await api.put(contact="ask@example.com")
    event = make_event()
    assert (await api.ask(event=event)).status_code == 202
    refused = await api.ask()

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (402, "budget_exceeded")
    facts = {"budget": "marketing", "limit": "0.05", "spent": "0.00", "reserved": "0.035", "price": "0.035"}
    assert problem.items() >= (facts | {"currency": "USD", "period": "month", "contact": "ask@example.com"}).items()
    assert "would cost 0.035 USD" in problem["detail"]
    assert "0.015 USD left" in problem["detail"]
    assert (await api.ask(event=event)).status_code == 200, "the same request again"


async def test_a_budget_that_is_put_is_read_with_what_is_used_of_it(api: Api, database: Database) -> None:
    put = await api.put(limit="100", match={"campaignId": examples.REQUESTED["campaignId"]})
    assert put.status_code == 200
    assert put.json()["remarks"] == ["It has counted no request so far. Check the ids in match."]
    await api.ask()
    read = (await api.call("GET", f"{BUDGETS}/marketing")).json()

    assert read["match"] == {"campaignId": examples.REQUESTED["campaignId"]}
    amounts = {name: read[name] for name in ("limit", "spent", "reserved", "left")}
    assert amounts == {"limit": "100.00", "spent": "0.00", "reserved": "0.035", "left": "99.965"}
    assert (read["kind"], read["timeZone"], read["contact"]) == ("hard", "Europe/Berlin", None)
    assert read["periodStart"] < read["updatedAt"] < read["periodEnd"]
    assert (await api.call("GET", BUDGETS)).json() == {"items": [read]}
    recorded = await rows(database, "SELECT client, action FROM operations WHERE target = 'budget:marketing'")
    assert [tuple(row) for row in recorded] == [("ops", "put")]
    total = (await api.put(period="total")).json()
    assert (total["periodStart"], total["periodEnd"]) == (None, None)
    assert (await api.call("DELETE", f"{BUDGETS}/marketing")).status_code == 204
    assert (await api.call("DELETE", f"{BUDGETS}/marketing")).json()["code"] == "budget_unknown"


async def test_odoo_reads_the_budgets_that_would_count_a_request(api: Api) -> None:
    user, campaign = str(uuid4()), str(uuid4())
    await api.put("all")
    await api.put("campaign", match={"campaignId": campaign})
    await api.put("person", match={"userId": user, "odoo": "default"})
    await api.put("theirs", match={"odoo": "north"})

    async def names(**purpose: str) -> list[str]:
        answer = await api.call("GET", COUNTING, by="odoo", params=purpose)
        return [item["name"] for item in answer.json()["items"]]

    assert await names() == ["all"]
    assert await names(userId=user) == ["all", "person"]
    assert await names(campaignId=campaign, userId=str(uuid4())) == ["all", "campaign"]
    assert (await api.call("GET", COUNTING, by="odoo", params={"userId": "me"})).status_code == 422


WRONG: list[tuple[dict[str, Any], str]] = [
    *(({"limit": limit}, "limit") for limit in (100, "-1", "NaN", "1.0000000001", "1" * 13, "", "1,5")),
    *(({"currency": currency}, "currency") for currency in ("usd", "US", "EURO", None)),
    ({"currency": "CHF"}, "currency"),  # no rate to the price of the model
    *(({"period": period}, "period") for period in ("week", "", None)),
    ({"kind": "medium"}, "kind"),
    ({"match": {"odoo": "south"}}, "match.odoo"),
    ({"match": {"modelId": str(uuid4())}}, "match.modelId"),
    ({"match": {"userId": "me"}}, "match.userId"),
    ({"match": {"user": "me"}}, "match.user"),
    ({"contact": " "}, "contact"),
    ({"limits": "1"}, "limits"),
]


async def test_a_wrong_field_of_a_budget_is_named(api: Api) -> None:
    for terms, field in WRONG:
        answer = await api.put(**terms)
        assert answer.status_code == 422, (terms, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [field], terms
    assert (await api.call("GET", BUDGETS)).json() == {"items": []}


async def test_what_may_not_be_meant_is_remarked(api: Api) -> None:
    await api.ask()
    await api.put("first")
    remarks = (await api.put("second", limit="0.01")).json()["remarks"]
    assert remarks == [
        "0.035 USD are used already, which is more than the limit.",
        "Other budgets count the same requests in the same period; the tightest decides: first.",
    ]


@pytest.mark.parametrize("headers", [{}, {"X-Aigen-Addon": "1.4.0"}, {"X-Aigen-Addon": "(; version"}])
async def test_while_an_odoo_has_an_older_addon_a_budget_is_put_only_by_force(
    api: Api, headers: dict[str, str]
) -> None:
    await api.ask(headers=headers)
    refused = await api.put()
    assert (refused.status_code, refused.json()["code"]) == (409, "addon_too_old")
    assert "default has" in refused.json()["detail"]
    assert (await api.call("PUT", f"{BUDGETS}/marketing", json=TERMS, params={"force": "true"})).status_code == 200
    await api.ask(headers=NEW_ADDON)
    assert (await api.put()).status_code == 200


@pytest.mark.parametrize("path", [COUNTING, "/api/v1/influencegen/models"])
async def test_an_upgraded_addon_is_known_once_it_reads_the_models_or_what_is_left(api: Api, path: str) -> None:
    await api.ask(headers={"X-Aigen-Addon": "1.4.0"})
    await api.call("GET", path, by="n8n", headers=NEW_ADDON)
    assert (await api.put()).status_code == 409, "N8N is no Odoo"
    await api.call("GET", path, by="odoo", headers=NEW_ADDON)
    await api.call("GET", path, by="odoo")
    assert (await api.put()).status_code == 200


async def test_an_operator_of_one_odoo_changes_only_its_budgets(api: Api) -> None:
    await api.put("all")
    refused = await api.put("theirs", by="north-ops")
    assert [error["field"] for error in refused.json()["errors"]] == ["match.odoo"]
    assert (await api.put("theirs", by="north-ops", match={"odoo": "north"})).status_code == 200
    taken = await api.put("all", by="north-ops", match={"odoo": "north"})
    assert (taken.status_code, taken.json()["code"]) == (409, "budget_name_taken")
    assert taken.json()["action"] == "Put the budget under another name."
    assert (await api.call("GET", f"{BUDGETS}/all", by="north-ops")).status_code == 404
    assert (await api.call("DELETE", f"{BUDGETS}/all", by="north-ops")).status_code == 404
    listed = (await api.call("GET", BUDGETS, by="north-ops")).json()["items"]
    assert [item["name"] for item in listed] == ["theirs"]


async def test_without_a_rate_a_hard_budget_refuses_and_names_the_setting(api: Api, database: Database) -> None:
    await api.put(currency="EUR")
    await write(database, "UPDATE budgets SET currency = 'CHF'")
    refused = await api.ask()
    assert (refused.status_code, refused.json()["code"]) == (422, "rate_missing")
    assert "AIGEN_MONEY__RATES" in refused.json()["action"]


async def test_the_command_puts_lists_and_removes_budgets(database_url: str) -> None:
    settings = {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_PUBLIC_URL": "http://bridge.test",
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in (UNREACHABLE | {"clients": CLIENTS}).items()},
    }

    async def run(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["budgets", *arguments], env=settings)
        return done.exit_code, done.output

    campaign = str(uuid4())
    terms = ("--limit", "100", "--currency", "USD", "--period", "month")
    code, said = await run("put", "marketing", *terms, "--match", f"campaignId={campaign}", "--contact", "Ada")
    assert (code, said.splitlines()[0]) == (0, "marketing: 100.00 USD a month (hard), 100.00 left.")
    assert json.loads((await run("list", "--json"))[1])["items"][0]["match"] == {"campaignId": campaign}
    assert f"campaignId={campaign}" in (await run("list"))[1]
    assert (await run("put", "Marketing", *terms))[0] == 2
    assert (await run("put", "marketing", *terms, "--match", "user=me"))[0] == 2
    code, said = await run("put", "marketing", "--limit", "-1", *terms[2:])
    assert code == 2
    assert said.startswith("limit must be a decimal from 0 without too many digits, such as 0.035. Allowed: a decimal ")
    assert said.endswith("from 0, with at most 12 digits before the point and 9 after it.\n")
    assert (await run("remove", "marketing")) == (0, "The budget marketing is removed.\n")
    assert (await run("list"))[1] == "There are no budgets.\n"
