"""How Odoo refuses, and what the bridge makes of it, in the simulator and in a real Odoo, over both transports."""

from contextlib import aclosing

import pytest

from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_auto import odoo_transport
from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.odoo import look_at_odoo
from aigen_bridge.domain.errors import PermanentError, TransientError
from real_odoo import DATABASE

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"


@pytest.mark.parametrize(
    ("model", "method", "arguments", "code"),
    [
        ("no.such.model", "read", {}, "odoo_usererror"),
        (MODEL, "_apply", {"payload": {}}, "odoo_accesserror"),
        (MODEL, "no_such_method", {}, "odoo_attributeerror"),
        (MODEL, METHOD, {}, "odoo_typeerror"),
        (MODEL, METHOD, {"payload": {}, "another": 1}, "odoo_typeerror"),
        (MODEL, METHOD, {"payload": {}}, "odoo_validationerror"),
    ],
)
async def test_the_code_of_a_fault_says_what_is_wrong(side, model, method, arguments, code):
    assert (await side.fault(model, method, **arguments))[0] == code


@pytest.mark.parametrize("model", ["aigen.image.request", "res.users", "res.partner", "ir.attachment"])
async def test_the_bridges_user_may_do_nothing_else(side, model):
    search = {"domain": [], "fields": ["id"]}
    if (side.place.version, model) == (19, "ir.attachment") and side.is_real:
        assert await side.call(model, "search_read", **search) == []  # the search is allowed and finds nothing
    else:
        assert (await side.fault(model, "search_read", **search))[0] == "odoo_accesserror"


async def test_the_bridges_user_knows_who_it_is(side):
    assert (await side.call("res.users", "context_get")).keys() >= {"lang", "tz", "uid"}


async def test_the_version_is_told_without_a_key(side):
    assert (await side.transport.version()).startswith(f"{side.place.version}.")


@pytest.mark.parametrize(
    ("changes", "error", "code", "away"),
    [
        ({"api_key": "wrong-key-of-nobody"}, PermanentError, "odoo_login_refused", False),
        ({"database": "no_such_database"}, TransientError, "odoo_operationalerror", True),
        ({}, PermanentError, "odoo_validationerror", False),
    ],
)
async def test_the_services_client_understands_the_faults(side, changes, error, code, away):
    settings = side.place.settings(side.transport_name, **changes)
    async with aclosing(OdooClient(odoo_transport(settings))) as client:
        with pytest.raises(error) as caught:
            await client.apply_result({})
    assert (caught.value.code, getattr(caught.value, "away", False)) == (code, away)


@pytest.mark.parametrize(("version", "protocol"), [(18, "JSON-RPC"), (19, "JSON-2")])
async def test_the_version_decides_how_odoo_is_called(place, version, protocol):
    if place.version == version:
        async with aclosing(odoo_transport(place.settings("auto"))) as transport:
            await transport.login()
            assert transport.protocol == protocol


async def test_the_bridges_user_has_no_access_to_records_and_doctor_finds_that_well(side):
    found = await look_at_odoo("default", side.place.settings(side.transport_name))

    place, may_write = side.place, (MODEL, "has_access", [[], "write"])
    answer = await place.rpc("object", "execute_kw", DATABASE, await place.uid(), place.key, *may_write)
    assert answer["result"] is False
    will_go = place.version >= 19 and side.protocol == "JSON-RPC"
    assert [finding.mark for finding in found] == [Mark.WARNING if will_go else Mark.OK, Mark.OK, Mark.OK], found
