"""How Odoo refuses: the class of each fault, by which the service decides, in the simulator and in a real Odoo."""

import httpx
import pytest
from pydantic import SecretStr

from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.odoo import look_at_odoo
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.settings.sections import OdooSettings
from real_odoo import DATABASE

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
LOGIN = "aigen-bridge"
EXCEPTIONS = "odoo.exceptions."


def name_of(answer):
    assert answer["error"]["code"] in {200, 0}  # Odoo 18, 19
    return answer["error"]["data"]["name"]


async def test_a_wrong_key_does_not_log_in(side):
    assert (await side.rpc("common", "login", DATABASE, LOGIN, "wrong"))["result"] is False
    assert (await side.rpc("common", "authenticate", DATABASE, "nobody", side.key, {}))["result"] is False


async def test_a_call_with_a_wrong_key_or_as_somebody_else_is_denied(side):
    uid = await side.uid()
    for user, key in ((uid, "wrong"), (uid + 1, side.key)):
        answer = await side.rpc("object", "execute_kw", DATABASE, user, key, MODEL, METHOD, [{}])
        assert name_of(answer) == EXCEPTIONS + "AccessDenied"


async def test_an_unknown_database_is_an_operational_error(side):
    answer = await side.rpc("common", "login", "no_such_database", LOGIN, side.key)
    assert name_of(answer) == "psycopg2.OperationalError"


@pytest.mark.parametrize(
    ("model", "method", "arguments", "name"),
    [
        ("no.such.model", "read", [[1]], EXCEPTIONS + "UserError"),
        (MODEL, "_apply", [{}], EXCEPTIONS + "AccessError"),
        (MODEL, "no_such_method", [], "builtins.AttributeError"),
        (MODEL, METHOD, [], "builtins.TypeError"),
        (MODEL, METHOD, [{}, {}], "builtins.TypeError"),
        (MODEL, METHOD, [{}], EXCEPTIONS + "ValidationError"),
    ],
)
async def test_the_class_of_a_fault_says_what_is_wrong(side, model, method, arguments, name):
    assert name_of(await side.call(model, method, *arguments)) == name


@pytest.mark.parametrize("model", ["aigen.image.request", "res.users", "res.partner", "ir.attachment"])
async def test_the_bridges_user_may_do_nothing_else(side, model):
    answer = await side.call(model, "search_read", [], ["id"])
    if (side.version, model) == (19, "ir.attachment"):
        assert answer["result"] == []  # the search is allowed and finds nothing
    else:
        assert name_of(answer) == EXCEPTIONS + "AccessError"


async def test_the_bridges_user_knows_who_it_is(side):
    answer = await side.call("res.users", "context_get")
    assert answer["result"]["uid"] == await side.uid()
    assert {"lang", "tz"} <= answer["result"].keys()


async def test_too_few_arguments_are_an_error_of_python(side):
    name = "builtins.IndexError" if side.version == 18 else "builtins.ValueError"
    assert name_of(await side.rpc("object", "execute_kw", DATABASE)) == name


async def test_an_unknown_service_method_is_a_name_error(side):
    uid = await side.uid()
    answer = await side.rpc("object", "no_such", DATABASE, uid, side.key, MODEL, METHOD, [{}])
    assert name_of(answer) == "builtins.NameError"


async def test_nonsense_is_a_bad_request(side):
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{side.url}/jsonrpc", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


async def test_the_version_is_told(side):
    answer = await side.rpc("common", "version")
    assert answer["result"]["server_version_info"][:2] == [side.version, 0]
    assert answer["result"]["protocol_version"] == 1


async def test_every_answer_closes_the_connection(side):
    body = {"jsonrpc": "2.0", "method": "call", "params": {"service": "common", "method": "version", "args": []}}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{side.url}/jsonrpc", json=body)
    assert answer.headers.get("connection", "").lower() == "close" or answer.http_version == "HTTP/1.0"


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"api_key": "wrong"}, PermanentError, "odoo_login_refused"),
        ({"database": "no_such_database"}, TransientError, "odoo_operationalerror"),
        ({}, PermanentError, "odoo_validationerror"),
    ],
)
async def test_the_services_client_understands_the_faults(side, changes, error, code):
    given = {"database": DATABASE, "login": LOGIN, "api_key": side.key, "timeout": 60, "concurrency": 1} | changes
    client = OdooClient(OdooJsonRpc(side.url, **given))
    try:
        with pytest.raises(error) as caught:
            await client.apply_result({})
    finally:
        client.close()
    assert caught.value.code == code


async def test_the_bridges_user_has_no_access_to_records_and_doctor_finds_that_well(side):
    odoo = OdooSettings(url=side.url, database=DATABASE, login=LOGIN, api_key=SecretStr(side.key))
    found = await look_at_odoo(Subject(odoo=odoo))

    assert await side.call(MODEL, "has_access", [], "write") == {"jsonrpc": "2.0", "id": 1, "result": False}
    assert [finding.mark for finding in found[1:]] == [Mark.OK] * 2, found
    assert found[0].mark is (Mark.OK if side.version == 18 else Mark.WARNING), found
