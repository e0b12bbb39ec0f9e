"""Odoo 19: JSON-2 as the real server answers (measured on 19.0), beside JSON-RPC."""

import asyncio

import httpx
import pytest
from odoo_stage import KEY, METHOD, MODEL, UUID, result, rpc

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

HEADERS = {"Authorization": f"bearer {KEY}", "X-Odoo-Database": "odoo"}
FAULT = {"name", "message", "arguments", "context", "debug"}


@pytest.fixture
def odoo():
    return OdooSimulator(OdooSettings(api_key=KEY, series="19.0", database_uuid=UUID))


@pytest.fixture
async def url(odoo):
    async with serving(odoo.app) as url:
        yield url


@pytest.fixture
async def call(url):
    async with httpx.AsyncClient(base_url=url, verify=False) as http:

        async def call(path=f"{MODEL}/{METHOD}", body=None, **headers):
            sent = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
            kept = {name: value for name, value in sent.items() if value is not None}
            return await http.post(f"/json/2/{path}", json={} if body is None else body, headers=kept)

        yield call


async def test_a_result_is_applied_once_and_the_whole_body_is_the_answer(odoo, call):
    first, second = [await call(body={"payload": result()}) for _ in range(2)]
    assert (first.status_code, first.headers["connection"]) == (200, "close")
    assert first.json() == {
        "applied": True,
        "recordId": 1,
        "attachmentId": 1001,
        "version": 1,
        "status": "completed",
        "errorCode": False,
        "databaseUuid": UUID,
    }
    assert second.json() == first.json() | {"applied": False}
    fields = odoo.calls.to("json2")[0].fields
    assert (fields["model"], fields["model_method"], fields["requestId"]) == (MODEL, METHOD, "r-1")


async def test_the_uuid_of_the_database_is_told_and_a_result_for_another_one_changes_nothing(odoo, call):
    assert (await call(f"{MODEL}/bridge_limits")).json() == {"imageBytes": 32 * 2**20, "databaseUuid": UUID}
    other = await call(body={"payload": result() | {"databaseUuid": "another"}})
    assert other.json() == {"applied": False, "recordId": 0, "attachmentId": False, "databaseUuid": UUID}
    assert len(odoo.records) == 0
    assert (await call(body={"payload": result() | {"databaseUuid": UUID.upper()}})).json()["applied"] is True


async def test_an_addon_of_the_version_before_tells_no_uuid_and_compares_none():
    odoo = OdooSimulator(OdooSettings(api_key=KEY, tells_database=False))
    answer = odoo._run(MODEL, METHOD, [], {"payload": result() | {"databaseUuid": "another"}})
    assert (answer["applied"], "databaseUuid" in answer) == (True, False)


async def test_two_simulators_are_two_databases_and_one_that_starts_again_is_the_same():
    def of(key):
        return OdooSimulator(OdooSettings(api_key=key)).database_uuid

    assert of("one") == of("one") != of("two")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "name"),
    [
        (f"{MODEL}/bridge_limits", {}, {"Authorization": "bearer wrong"}, 401, "werkzeug.exceptions.Unauthorized"),
        (f"{MODEL}/bridge_limits", {}, {"Authorization": None}, 401, "werkzeug.exceptions.Unauthorized"),
        ("no.such.model/read", {}, {}, 404, "werkzeug.exceptions.NotFound"),
        (f"{MODEL}/no_such_method", {}, {}, 404, "werkzeug.exceptions.NotFound"),
        (f"{MODEL}/_secret", {}, {}, 403, "odoo.exceptions.AccessError"),
        ("res.partner/search_read", {"domain": []}, {}, 403, "odoo.exceptions.AccessError"),
        (f"{MODEL}/{METHOD}", {}, {}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        (f"{MODEL}/{METHOD}", {"payload": {}, "x": 1}, {}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        (f"{MODEL}/{METHOD}", {"payload": {}}, {}, 422, "odoo.exceptions.ValidationError"),
    ],
)
async def test_a_fault_has_its_status_and_its_class(call, path, body, headers, status, name):
    answer = await call(path, body, **headers)
    assert (answer.status_code, answer.json()["name"], set(answer.json())) == (status, name, FAULT)
    assert answer.json()["debug"].startswith("Traceback")


async def test_an_unknown_database_is_a_page_and_without_the_header_the_only_database_is_meant(call):
    unknown = await call(f"{MODEL}/bridge_limits", X_Odoo_Database="other")
    assert (unknown.status_code, "No database is selected" in unknown.text) == (404, True)
    assert (await call(f"{MODEL}/bridge_limits", X_Odoo_Database=None)).status_code == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [("psycopg2.OperationalError", 500), ("builtins.RuntimeError", 500), ("odoo.exceptions.LockError", 409)],
)
async def test_a_fault_on_command_comes_with_its_status_and_before_the_effect(odoo, call, name, status):
    odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name))
    answer = await call(body={"payload": result()})
    assert (answer.status_code, answer.json()["name"], len(odoo.records)) == (status, name, 0)


async def test_odoo_18_has_no_json2_and_19_keeps_jsonrpc(url):
    async with serving(OdooSimulator(OdooSettings(api_key=KEY)).app) as old, httpx.AsyncClient(verify=False) as http:
        missing = await http.post(f"{old}/json/2/{MODEL}/{METHOD}", json={}, headers=HEADERS)
        versions = [await http.post(f"{each}/web/webclient/version_info", json={"id": 3}) for each in (old, url)]
        call = await rpc(http, url, "object", "execute_kw", "odoo", 7, KEY, "no.model", "read", [])
    assert (missing.status_code, missing.headers["location"][:20]) == (303, "/web/login?redirect=")
    told = [(answer.json()["id"], answer.json()["result"]["server_version"]) for answer in versions]
    assert told == [(3, "18.0"), (3, "19.0")]
    assert call.json()["error"]["code"] == 0


async def test_a_fault_without_a_route_is_never_spent_on_the_question_for_the_version(odoo, url, call):
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502), Fault(kind=FaultKind.STATUS, status=404, route="version"))
    async with httpx.AsyncClient(verify=False) as http:
        statuses = [(await http.post(f"{url}/web/webclient/version_info", json={})).status_code for _ in range(2)]
    assert statuses == [404, 200]
    assert [answer.status_code for answer in await asyncio.gather(call(), call())].count(502) == 1
