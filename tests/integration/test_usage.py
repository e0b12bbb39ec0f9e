"""Usage: the sums of the ledger, to the last decimal, in the API and on the command line."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC
from decimal import Decimal
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.contracts import usage as contracts_usage
from aigen_bridge.settings import values as settings_values
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import CLIENTS, make_settings, serve_api

USAGE = "/api/v1/influencegen/usage"
ANNE, BEN = "0d9c1a52-7d0b-4a3f-8f2e-3f1c9b7a6e21", "1d9c1a52-7d0b-4a3f-8f2e-3f1c9b7a6e21"
IMAGES = 1001
ENTRIES = """
    INSERT INTO ledger (
        request_id, odoo, user_id, accepted_at, kind, charge, spent, reserved, currency, basis, images, failures
    )
    SELECT gen_random_uuid(), odoo, CAST(user_id AS uuid), CAST(at AS timestamptz), kind, charge, spent, reserved,
        currency, basis, images, failures
    FROM (VALUES
        ('default', :anne, '2026-03-31 21:59:59Z', 'charge', 'unnamed:1', 0.035, 0, 'USD', 'billed', 1, 0, :many),
        ('default', :ben, '2026-03-31 22:00:00Z', 'charge', 'unnamed:1', 0.000000001, 0, 'USD', 'estimated', 1, 0, 3),
        ('default', :ben, '2026-04-02 12:00:00Z', 'charge', 'unnamed:1', 1.5, 0, 'EUR', 'billed', 1, 0, 1),
        ('north', NULL, '2026-04-02 12:00:00Z', 'reserve', NULL, 0, 0.035, 'USD', NULL, 0, 0, 2),
        ('north', NULL, '2026-04-02 12:00:00Z', 'end', NULL, 0, 0, NULL, NULL, 0, 1, 1)
    ) AS e (odoo, user_id, at, kind, charge, spent, reserved, currency, basis, images, failures, times),
        generate_series(1, times)
"""
SPRING = {"from": "2026-03-01", "to": "2026-05-01"}


@pytest.fixture
async def api(database_url: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    await write(database, ENTRIES, anne=ANNE, ben=BEN, many=IMAGES)
    clients = CLIENTS | {"north": {"keys": ["key-of-north"], "scopes": ["requests"], "odoo": "north"}}
    north = {"url": "http://127.0.0.1:9", "database": "north", "login": "bridge", "api_key": "k"}
    money = {"time_zone": "Europe/Berlin"}
    settings = make_settings(database_url, clients=clients, odoos={"north": north}, money=money)
    async with serve_api(settings) as served:
        yield served


async def read(api: httpx.AsyncClient, key: str = "key-of-ops", **parameters: str) -> list[dict[str, Any]]:
    answer = await api.get(USAGE, params=SPRING | parameters, headers={"X-API-Key": key})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def item(key: str | None, currency: str | None, spent: str, *rest: Any) -> dict[str, Any]:
    names = ("key", "currency", "spent", "estimated", "reserved", "images", "failures")
    return dict(zip(names, (key, currency, spent, *rest), strict=True))


async def test_sums_are_exact_and_currencies_are_never_added(api: httpx.AsyncClient, database: Database) -> None:
    found = await read(api)

    assert found == [
        item(None, "EUR", "1.50", "0.00", "0.00", 1, 0),
        item(None, "USD", "35.035000003", "0.000000003", "0.07", IMAGES + 3, 0),
        item(None, None, "0.00", "0.00", "0.00", 0, 1),
    ]
    for each in found:
        [[total]] = await rows(
            database,
            "SELECT sum(spent) FROM ledger WHERE currency IS NOT DISTINCT FROM CAST(:currency AS text)",
            currency=each["currency"],
        )
        assert Decimal(each["spent"]) == total


GROUPS: dict[str, list[tuple[str | None, str | None]]] = {
    "user": [(ANNE, "USD"), (BEN, "EUR"), (BEN, "USD"), (None, "USD"), (None, None)],
    "day": [
        ("2026-03-31", "USD"),
        ("2026-04-01", "USD"),
        ("2026-04-02", "EUR"),
        ("2026-04-02", "USD"),
        ("2026-04-02", None),
    ],
    "odoo": [("default", "EUR"), ("default", "USD"), ("north", "USD"), ("north", None)],
    "campaign": [(None, "EUR"), (None, "USD"), (None, None)],
    "model": [(None, "EUR"), (None, "USD"), (None, None)],
}


async def test_usage_is_grouped_and_sorted_by_key_and_currency(api: httpx.AsyncClient) -> None:
    for group_by, keys in GROUPS.items():
        found = await read(api, groupBy=group_by)
        assert [(each["key"], each["currency"]) for each in found] == keys
        assert sum(Decimal(each["spent"]) for each in found if each["currency"] == "USD") == Decimal("35.035000003")


async def test_an_odoo_sees_its_own_usage_and_periods_end_before_their_end(api: httpx.AsyncClient) -> None:
    assert {each["currency"] for each in await read(api, "key-of-north", groupBy="odoo")} == {"USD", None}
    assert [each["spent"] for each in await read(api, to="2026-04-01")] == ["35.035"]
    assert await read(api, "key-of-odoo", to="2026-03-15") == []


async def test_the_csv_has_the_same_items(api: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": "key-of-ops", "Accept": "text/csv, application/json;q=0.5"}
    answer = await api.get(USAGE, params=SPRING | {"groupBy": "user"}, headers=headers)

    assert (answer.headers["content-type"], answer.headers["vary"]) == ("text/csv; charset=utf-8", "Accept")
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert found == [
        {name: "" if value is None else str(value) for name, value in each.items()}
        for each in await read(api, groupBy="user")
    ]


WRONG: list[tuple[dict[str, str], str]] = [
    ({"from": "March"}, "from"),
    ({"from": "2026-05-01"}, "to"),
    ({"groupBy": "prompt"}, "groupBy"),
    ({"by": "x"}, "by"),
    ({"from": ""}, "from"),
]


async def test_a_wrong_call_is_refused_by_field_and_n8n_may_not_call(api: httpx.AsyncClient) -> None:
    for parameters, field in WRONG:
        answer = await api.get(USAGE, params=SPRING | parameters, headers={"X-API-Key": "key-of-ops"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert (await api.get(USAGE, headers={"X-API-Key": "key-of-n8n"})).status_code == 403


async def test_days_in_a_time_zone_that_postgresql_does_not_know_are_refused_with_what_to_do(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_values, "available_timezones", lambda: {"Mars/Olympus"})
    monkeypatch.setattr(contracts_usage, "ZoneInfo", lambda _: UTC)
    async with serve_api(make_settings(database_url, money={"time_zone": "Mars/Olympus"})) as served:
        answers = [
            await served.get(USAGE, params=parameters, headers={"X-API-Key": "key-of-ops"})
            for parameters in (SPRING | {"groupBy": "day"}, SPRING)
        ]
    assert [answer.status_code for answer in answers] == [409, 200]
    problem = answers[0].json()
    assert problem["code"] == "time_zone_unknown"
    assert "AIGEN_MONEY__TIME_ZONE" in problem["action"]


async def test_the_command_prints_the_same(
    api: httpx.AsyncClient, configured: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log

    async def run(*arguments: str) -> str:
        given = ["usage", "--from", "2026-03-01", "--to", "2026-05-01", "--group-by", "odoo", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, app, given, env=configured | {"COLUMNS": "120"})
        assert done.exit_code == 0, done.output
        return done.output

    items = await read(api, groupBy="odoo")
    assert json.loads(await run("--json"))["items"] == items
    assert [line["spent"] for line in csv.DictReader(io.StringIO(await run("--csv")))] == [i["spent"] for i in items]
    shown = await run("--odoo", "default")
    assert "35.035000003" in shown
    assert "north" not in shown
