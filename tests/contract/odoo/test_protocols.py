"""The raw answers of JSON-RPC and JSON-2, by which the bridge decides, in the simulator and in a real Odoo."""

from urllib.parse import urlsplit

import httpx
import pytest

from real_odoo import DATABASE

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
LOGIN = "aigen-bridge"
FAULT = {"name", "message", "arguments", "context", "debug"}
ASK_VERSION = {"jsonrpc": "2.0", "method": "call", "params": {}, "id": 1}


def name_of(answer, version):
    assert answer["error"]["code"] == (200 if version == 18 else 0)
    return answer["error"]["data"]["name"]


async def test_a_wrong_key_does_not_log_in(place):
    assert (await place.rpc("common", "login", DATABASE, LOGIN, "wrong"))["result"] is False
    assert (await place.rpc("common", "authenticate", DATABASE, "nobody", place.key, {}))["result"] is False


async def test_a_call_with_a_wrong_key_or_as_somebody_else_is_denied(place):
    uid = await place.uid()
    for user, key in ((uid, "wrong"), (uid + 1, place.key)):
        answer = await place.rpc("object", "execute_kw", DATABASE, user, key, MODEL, METHOD, [{}])
        assert name_of(answer, place.version) == "odoo.exceptions.AccessDenied"


async def test_an_unknown_database_is_an_operational_error(place):
    answer = await place.rpc("common", "login", "no_such_database", LOGIN, place.key)
    assert name_of(answer, place.version) == "psycopg2.OperationalError"


async def test_too_few_arguments_are_an_error_of_python(place):
    name = "builtins.IndexError" if place.version == 18 else "builtins.ValueError"
    assert name_of(await place.rpc("object", "execute_kw", DATABASE), place.version) == name


async def test_an_unknown_service_method_is_a_name_error(place):
    uid = await place.uid()
    answer = await place.rpc("object", "no_such", DATABASE, uid, place.key, MODEL, METHOD, [{}])
    assert name_of(answer, place.version) == "builtins.NameError"


async def test_nonsense_is_a_bad_request(place):
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{place.url}/jsonrpc", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_each_odoo_tells_its_version_in_both_ways(place):
    async with httpx.AsyncClient() as http:
        asked = await http.post(f"{place.url}/web/webclient/version_info", json=ASK_VERSION)
    for answer in (asked.json(), await place.rpc("common", "version")):
        assert answer["result"]["server_version_info"][:2] == [place.version, 0]
        assert answer["result"]["protocol_version"] == 1


async def test_every_answer_closes_the_connection(place):
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{place.url}/web/webclient/version_info", json=ASK_VERSION)
    assert answer.headers.get("connection", "").lower() == "close" or answer.http_version == "HTTP/1.0"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "name"),
    [
        (f"{MODEL}/bridge_limits", {}, {"Authorization": "bearer wrong"}, 401, "werkzeug.exceptions.Unauthorized"),
        ("no.such.model/read", {}, {}, 404, "werkzeug.exceptions.NotFound"),
        (f"{MODEL}/no_such_method", {}, {}, 404, "werkzeug.exceptions.NotFound"),
        (f"{MODEL}/_apply", {}, {}, 403, "odoo.exceptions.AccessError"),
        ("res.partner/search_read", {"domain": []}, {}, 403, "odoo.exceptions.AccessError"),
        (f"{MODEL}/{METHOD}", {}, {}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        (f"{MODEL}/{METHOD}", {"payload": {}, "x": 1}, {}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        (f"{MODEL}/{METHOD}", {"payload": {}}, {}, 422, "odoo.exceptions.ValidationError"),
    ],
)
async def test_json2_sends_a_fault_as_a_status_with_its_class(place19, path, body, headers, status, name):
    answer = await place19.json2(path, body, **headers)
    assert (answer.status_code, answer.json()["name"], set(answer.json())) == (status, name, FAULT)


async def test_json2_answers_a_call_for_an_unknown_database_with_a_page(place19):
    answer = await place19.json2(f"{MODEL}/bridge_limits", {}, X_Odoo_Database="no_such_database")
    assert (answer.status_code, "No database is selected" in answer.text) == (404, True)


async def test_odoo_18_answers_json2_with_its_login_page(place):
    if place.version == 18:
        answer = await place.json2(f"{MODEL}/bridge_limits", {})
        assert (answer.status_code, urlsplit(answer.headers["location"]).path) == (303, "/web/login")
