"""The transport `auto`: Odoo's version decides, and an upgrade needs no change of settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from aigen_bridge.clients import odoo_auto
from aigen_bridge.clients.odoo_auto import OdooAuto, odoo_transport
from aigen_bridge.clients.odoo_json2 import OdooJson2
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.domain.errors import StepError, TransientError
from aigen_bridge.settings.sections import OdooSettings as Settings
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-bot-user"
LIMITS: tuple[str, str, dict[str, Any]] = ("aigen.image.request", "bridge_limits", {})


@pytest.fixture
def odoo() -> OdooSimulator:
    return OdooSimulator(OdooSettings(api_key=KEY, series="19.0"))


@pytest.fixture
async def url(odoo: OdooSimulator) -> AsyncIterator[str]:
    async with serving(odoo.app) as url:
        yield url


def settings(url: str, **changes: Any) -> Settings:
    return Settings(url=url, database="odoo", login="aigen-bridge", api_key=SecretStr(KEY), **changes)


def opened(url: str, **changes: Any) -> Any:
    return aclosing(odoo_transport(settings(url, **changes)))


def asked(odoo: OdooSimulator) -> int:
    return len(odoo.calls.to("version"))


@pytest.mark.parametrize(("transport", "kind"), [("auto", OdooAuto), ("jsonrpc", OdooJsonRpc), ("json2", OdooJson2)])
async def test_the_setting_chooses_the_transport(transport: str, kind: type) -> None:
    async with opened("http://odoo.test", transport=transport) as chosen:
        assert isinstance(chosen, kind)


@pytest.mark.parametrize(("series", "protocol"), [("18.0", "JSON-RPC"), ("19.0", "JSON-2"), ("20.0", "JSON-2")])
async def test_the_version_is_asked_for_once_and_decides(
    odoo: OdooSimulator, url: str, series: str, protocol: str
) -> None:
    odoo.settings = replace(odoo.settings, series=series)
    async with opened(url) as transport:
        for _ in range(3):
            await transport.call(*LIMITS)

    assert (transport.protocol, asked(odoo)) == (protocol, 1)


@pytest.mark.parametrize("status", [200, 404])
async def test_calls_at_the_same_time_ask_once(odoo: OdooSimulator, url: str, status: int) -> None:
    fault = {"kind": FaultKind.DELAY} if status == 200 else {"kind": FaultKind.STATUS, "status": status}
    odoo.faults.add(Fault(**fault, delay=0.1, route="version", times=None))
    async with opened(url, concurrency=4) as transport:
        assert all(await asyncio.gather(*(transport.call(*LIMITS) for _ in range(4))))

    assert (asked(odoo), transport.protocol) == (1, "JSON-2" if status == 200 else "JSON-RPC")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=FaultKind.STATUS, status=404, route="version"),
        Fault(kind=FaultKind.STATUS, status=302, route="version", location="/web/login"),
        Fault(kind=FaultKind.PAGE, status=200, route="version"),
        Fault(kind=FaultKind.BODY, status=200, detail='{"version": "19"}', route="version"),
        Fault(kind=FaultKind.BODY, status=200, detail='{"jsonrpc": "2.0", "result": {}}', route="version"),
        Fault(kind=FaultKind.BODY, status=200, detail='{"result": {"server_version": "x"}}', route="version"),
        Fault(kind=FaultKind.DROP, route="version"),
        Fault(kind=FaultKind.DELAY, delay=5, route="version"),
    ],
)
async def test_without_an_answer_that_call_goes_over_jsonrpc_and_the_next_one_asks_again(
    odoo: OdooSimulator, url: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odoo_auto, "ASK_SECONDS", 0.2)
    odoo.faults.add(fault)
    protocols = []
    async with opened(url) as transport:
        for _ in range(2):
            await transport.call(*LIMITS)
            protocols.append(transport.protocol)

    assert (protocols, asked(odoo)) == (["JSON-RPC", "JSON-2"], 2)


@pytest.mark.parametrize(("before", "after"), [("18.0", "19.0"), ("19.0", "18.0")])
async def test_an_upgrade_and_the_way_back_are_noticed_after_odoo_was_away(
    odoo: OdooSimulator, url: str, before: str, after: str
) -> None:
    odoo.settings = replace(odoo.settings, series=before)
    async with opened(url) as transport:
        await transport.call(*LIMITS)
        odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502))
        with pytest.raises(TransientError):
            await transport.call(*LIMITS)
        odoo.settings = replace(odoo.settings, series=after)
        assert await transport.call(*LIMITS)

    assert asked(odoo) == 2
    assert transport.protocol == ("JSON-2" if after == "19.0" else "JSON-RPC")


async def test_an_odoo_that_has_no_json2_any_more_costs_one_call(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        await transport.call(*LIMITS)
        odoo.settings = replace(odoo.settings, series="18.0")
        with pytest.raises(TransientError, match="odoo_http_303"):
            await transport.call(*LIMITS)
        assert await transport.call(*LIMITS)


async def test_an_upgrade_that_nobody_noticed_is_found_within_the_hour(odoo: OdooSimulator, url: str) -> None:
    now = [1000.0]
    odoo.settings = replace(odoo.settings, series="18.0")
    async with opened(url) as transport:
        transport._clock = lambda: now[0]
        await transport.call(*LIMITS)
        odoo.settings = replace(odoo.settings, series="19.0")
        now[0] += 3599
        await transport.call(*LIMITS)
        kept = transport.protocol
        now[0] += 1
        await transport.call(*LIMITS)

    assert (kept, transport.protocol, asked(odoo)) == ("JSON-RPC", "JSON-2", 2)


async def test_a_fault_or_a_slow_answer_is_no_reason_to_ask_again(odoo: OdooSimulator, url: str) -> None:
    async with opened(url) as transport:
        await transport.call(*LIMITS)
        odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name="builtins.RuntimeError"))
        odoo.faults.add(Fault(kind=FaultKind.STATUS, status=500))
        for _ in range(2):
            with pytest.raises(StepError):
                await transport.call(*LIMITS)
        await transport.call(*LIMITS)

    assert asked(odoo) == 1


async def test_asking_and_calling_together_last_no_longer_than_the_timeout(odoo: OdooSimulator, url: str) -> None:
    async with opened(url, timeout="2s") as transport:
        assert transport._ask_seconds + transport._json2._timeout == 2
        assert transport._jsonrpc._timeout == transport._json2._timeout
        odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=1, route="version"))
        assert await transport.version() == "19.0"


async def test_a_dead_odoo_is_away() -> None:
    async with opened("http://127.0.0.1:9") as transport:
        with pytest.raises(TransientError) as caught:
            await transport.call(*LIMITS)
    assert (caught.value.code, caught.value.away) == ("odoo_unreachable", True)


async def test_each_odoo_has_its_own_name_in_the_log(odoo: OdooSimulator, url: str) -> None:
    async with aclosing(odoo_transport(settings(url), "odoo:north")) as transport:
        with capture_logs() as lines:
            await transport.call(*LIMITS)
    assert [line["event"] for line in lines if line["log_level"] == "info"] == ["odoo:north.answered"]
