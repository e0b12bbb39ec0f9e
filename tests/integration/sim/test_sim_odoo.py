"""Odoo: what the real odoorpc client sees, the addon's idempotent method, effects that survive a kill."""

import asyncio
import hashlib
import time
import urllib.error
from http.client import RemoteDisconnected

import odoorpc
import pytest
from odoo_stage import KEY, METHOD, MODEL, PICTURE, UUID, Client, name_of, result, rpc

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving


@pytest.fixture
def odoo():
    return OdooSimulator(OdooSettings(api_key=KEY, database_uuid=UUID))


@pytest.fixture
async def url(odoo):
    async with serving(odoo.app) as url:
        yield url


@pytest.fixture
async def client(url):
    return await (await Client(url).connect()).login()


def state(version, status, *, error_code=False):
    """How the record stands, as each answer says."""
    return {"version": version, "status": status, "errorCode": error_code, "databaseUuid": UUID}


@pytest.mark.parametrize("version", ["18.0", None])
async def test_the_real_client_connects_logs_in_and_applies_a_result(odoo, url, version):
    client = await (await Client(url).connect(version)).login()
    assert client.odoo.version == "18.0"
    assert client.odoo.env.uid == 7
    answer = await client.apply(result())
    assert answer == {"applied": True, "recordId": 1, "attachmentId": 1001} | state(1, "completed")
    assert odoo.records["r-1"].status == "completed"
    assert odoo.records.image("r-1") == PICTURE


async def test_an_equal_or_older_version_has_no_effect_and_the_same_ids(odoo, client):
    first = await client.apply(result(version=3))
    for version in (3, 2):
        assert await client.apply(result(version=version, status="failed")) == first | {"applied": False}
    record = odoo.records["r-1"]
    assert (record.status, record.applied, record.versions) == ("completed", 1, (3,))
    assert odoo.records.calls["r-1"] == 3


async def test_a_newer_version_takes_effect(odoo, client):
    failed = await client.apply(result(version=1, status="failed"))
    assert failed == {"applied": True, "recordId": 1, "attachmentId": False} | state(1, "failed", error_code="nsfw")
    assert (odoo.records["r-1"].error_code, odoo.records["r-1"].error_message) == ("nsfw", "No")
    assert (await client.apply(result(version=2)))["attachmentId"] == 1001
    record = odoo.records["r-1"]
    assert (record.status, record.versions, record.error_code) == ("completed", (1, 2), None)


async def test_twenty_at_once_have_one_effect(odoo, url):
    clients = [await (await Client(url).connect()).login() for _ in range(5)]
    answers = await asyncio.gather(*(client.apply(result()) for client in clients for _ in range(4)))
    assert sum(answer["applied"] for answer in answers) == 1
    assert odoo.records["r-1"].applied == 1


async def test_a_strict_odoo_knows_only_the_records_that_were_made_there(http):
    odoo = OdooSimulator(OdooSettings(api_key=KEY, create_missing=False))
    async with serving(odoo.app) as url:
        client = await (await Client(url).connect()).login()
        with pytest.raises(odoorpc.error.RPCError, match="no image request r-1") as caught:
            await client.apply(result())
        assert name_of(caught) == "odoo.exceptions.UserError"
        assert (await http.post(f"{url}/_sim/records", json={"requestId": "r-1"})).status_code == 201
        assert (await client.apply(result()))["applied"] is True


@pytest.mark.parametrize(
    "payload",
    [
        "no dictionary",
        {},
        result(version=0),
        result(version=True),
        result(status="done"),
        result(sha256="0" * 64),
        result(size=1),
        result(data="***"),
        result(width=0),
        {"requestId": "r-1", "version": 1, "status": "completed"},
    ],
)
async def test_a_bad_payload_is_a_validation_error_without_effect(odoo, client, payload):
    with pytest.raises(odoorpc.error.RPCError) as caught:
        await client.apply(payload)
    assert name_of(caught) == "odoo.exceptions.ValidationError"
    assert len(odoo.records) == 0


async def test_a_wrong_key_does_not_log_in_and_a_call_with_one_is_denied(url, http):
    with pytest.raises(odoorpc.error.RPCError) as caught:
        await (await Client(url).connect()).login(key="wrong")
    assert not caught.value.info
    for uid, key in ((7, "wrong"), (8, KEY)):
        answer = await rpc(http, url, "object", "execute_kw", "odoo", uid, key, MODEL, METHOD, [result()])
        assert answer.json()["error"]["data"]["name"] == "odoo.exceptions.AccessDenied"


async def test_an_unknown_database_is_an_operational_error(url):
    with pytest.raises(odoorpc.error.RPCError, match='database "other" does not exist') as caught:
        await (await Client(url).connect()).login(database="other")
    assert name_of(caught) == "psycopg2.OperationalError"


@pytest.mark.parametrize(
    ("model", "method", "arguments", "name"),
    [
        ("no.such.model", "read", [], "odoo.exceptions.UserError"),
        (MODEL, "_secret", [], "odoo.exceptions.AccessError"),
        (MODEL, "no_such_method", [], "builtins.AttributeError"),
        (MODEL, METHOD, [], "builtins.TypeError"),
    ],
)
async def test_a_call_of_something_that_is_not_there_fails_as_in_odoo(client, model, method, arguments, name):
    with pytest.raises(odoorpc.error.RPCError) as caught:
        await client.execute(model, method, arguments)
    assert name_of(caught) == name


async def test_an_error_has_odoos_envelope_inside_http_200(url, http):
    answer = await rpc(http, url, "object", "execute_kw", "odoo", 7, KEY, "no.model", "read", [])
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == (200, "Odoo Server Error")
    assert set(error["data"]) == {"name", "debug", "message", "arguments", "context"}
    assert error["data"]["debug"].startswith("Traceback")


async def test_every_answer_closes_the_connection(url, http):
    assert (await rpc(http, url, "common", "version")).headers["connection"] == "close"
    health = await http.get(f"{url}/web/health")
    assert (health.json(), health.headers["connection"]) == ({"status": "pass"}, "close")


async def test_version_login_and_authenticate_answer_as_odoo_18(url, http):
    version = (await rpc(http, url, "common", "version")).json()["result"]
    assert version["server_version_info"] == [18, 0, 0, "final", 0, ""]
    for method, extra in (("login", []), ("authenticate", [{}])):
        for key, uid in ((KEY, 7), ("wrong", False)):
            answer = await rpc(http, url, "common", method, "odoo", "aigen-bridge", key, *extra)
            assert answer.json()["result"] == uid


async def test_execute_spreads_what_execute_kw_packs(url, http):
    head = ("odoo", 7, KEY, MODEL, METHOD)
    spread = await rpc(http, url, "object", "execute", *head, result("r-1"))
    named = await rpc(http, url, "object", "execute_kw", *head, [], {"payload": result("r-2"), "context": {}})
    assert spread.json()["result"]["applied"] is named.json()["result"]["applied"] is True


async def test_nonsense_is_a_bad_request(url, http):
    for body in (b"{", b"[]", b'{"params": {}}'):
        assert (await http.post(f"{url}/jsonrpc", content=body)).status_code == 400


async def test_an_odoo_fault_comes_by_its_class_and_before_the_effect(odoo, client):
    odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name="psycopg2.errors.SerializationFailure", detail="retry"))
    with pytest.raises(odoorpc.error.RPCError, match="retry") as caught:
        await client.apply(result())
    assert name_of(caught) == "psycopg2.errors.SerializationFailure"
    assert len(odoo.records) == 0
    assert (await client.apply(result()))["applied"] is True


async def test_a_connection_dropped_before_has_no_effect_and_one_dropped_after_has_one(odoo, client):
    odoo.faults.add(Fault(kind=FaultKind.DROP), Fault(kind=FaultKind.DROP_AFTER))
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        await client.apply(result())
    assert len(odoo.records) == 0
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        await client.apply(result())
    assert odoo.records["r-1"].applied == 1
    assert (await client.apply(result()))["applied"] is False


async def test_a_proxys_error_is_an_http_error(odoo, client):
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502))
    with pytest.raises(urllib.error.HTTPError, match="502") as caught:
        await client.apply(result())
    caught.value.close()


async def test_a_call_can_take_its_time():
    odoo = OdooSimulator(OdooSettings(api_key=KEY, seconds=0.2))
    async with serving(odoo.app) as url:
        client = await (await Client(url).connect()).login()
        started = time.monotonic()
        await client.apply(result())
        assert time.monotonic() - started >= 0.2


async def test_records_can_be_read_over_http(client, url, http):
    await client.apply(result(version=2))
    await client.apply(result(version=2))
    record = (await http.get(f"{url}/_sim/records/r-1")).json()
    assert (record["status"], record["version"], record["versions"]) == ("completed", 2, [2])
    assert (record["applied"], record["calls"]) == (1, 2)
    assert record["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (await http.get(f"{url}/_sim/records")).json() == [record]
    image = await http.get(f"{url}/_sim/records/r-1/image")
    assert (image.content, image.headers["content-type"]) == (PICTURE, "image/png")
    for path in ("r-2", "r-2/image"):
        assert (await http.get(f"{url}/_sim/records/{path}")).status_code == 404


async def test_calls_name_the_request_and_show_neither_key_nor_image(odoo, client):
    await client.apply(result())
    fields = odoo.calls[-1].fields
    assert (fields["model"], fields["model_method"]) == (MODEL, METHOD)
    assert (fields["requestId"], fields["version"], fields["status"]) == ("r-1", 1, "completed")
    everything = repr(list(odoo.calls)) + repr(odoo.settings)
    assert KEY not in everything
    assert result()["image"]["data"] not in everything


def test_effects_survive_the_death_of_the_simulator_and_a_torn_line(tmp_path):
    def fresh():
        return OdooSimulator(OdooSettings(api_key=KEY, state_path=tmp_path)).records

    first = fresh()
    first.create("r-0")
    first.apply(result(version=1, status="failed"))
    answer = first.apply(result(version=2))
    with (tmp_path / "effects.jsonl").open("ab") as file:
        file.write(b'{"requestId": "torn')
    second = fresh()
    assert [(r.request_id, r.record_id, r.versions) for r in second] == [("r-0", 1, ()), ("r-1", 2, (1, 2))]
    assert second.apply(result(version=2)) == answer | {"applied": False}
    assert second.image("r-1") == PICTURE
    assert second.apply(result("r-2"))["attachmentId"] == answer["attachmentId"] + 1
    assert [record.request_id for record in fresh()] == ["r-0", "r-1", "r-2"]
