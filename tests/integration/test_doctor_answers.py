"""What doctor says about an Odoo or N8N whose answers come from something else, or may not be repeated."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.n8n import look_at_webhook
from aigen_bridge.doctor.odoo import look_at_odoo
from aigen_bridge.settings.sections import OdooSettings as Settings
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n import N8nSimulator
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-bot-user"
MOVED = Fault(kind=FaultKind.STATUS, status=301, location="https://www.odoo.test/jsonrpc?token=secret")


def subject(**sections: Any) -> Any:
    return SimpleNamespace(**sections)


@pytest.mark.parametrize(
    ("fault", "found", "advice"),
    [
        (MOVED, "points to https://www.odoo.test/jsonrpc.", "Correct AIGEN_ODOO__URL"),
        (Fault(kind=FaultKind.PAGE, status=200), "Please wait", "Wait if Odoo is being updated"),
        (Fault(kind=FaultKind.BODY, status=200, detail="[]"), "an empty list", "Wait if Odoo is being updated"),
        (Fault(kind=FaultKind.STATUS, status=405), "405", "blocks its /jsonrpc"),
    ],
)
async def test_odoo(fault: Fault, found: str, advice: str) -> None:
    odoo = OdooSimulator(OdooSettings(api_key=KEY))
    odoo.faults.add(fault)
    async with serving(odoo.app) as url:
        settings = Settings(url=url, database="odoo", login="aigen-bridge", api_key=SecretStr(KEY))
        line = (await look_at_odoo("default", settings))[-1]

    assert_wrong(line, found, advice)


async def test_an_odoo_that_ignores_logins_for_a_while() -> None:
    odoo = OdooSimulator(OdooSettings(api_key=KEY, cooldown_after=1))
    async with serving(odoo.app) as url:
        settings = Settings(url=url, database="odoo", login="aigen-bridge", api_key=SecretStr("wrong-key"))
        await look_at_odoo("default", settings)
        line = (await look_at_odoo("default", settings.model_copy(update={"api_key": SecretStr(KEY)})))[-1]

    assert_wrong(line, "refuses the login", "'Login attempt ignored'")


async def test_n8n_that_moved() -> None:
    n8n = N8nSimulator(N8nSettings(key="key", callback_key="key"))
    n8n.faults.add(Fault(kind=FaultKind.STATUS, status=308, location="https://n8n.test/webhook/aigen?token=secret"))
    async with serving(n8n.app) as url:
        settings = SimpleNamespace(webhook_url=f"{url}/webhook/aigen/v1/generate")
        [line] = await look_at_webhook(subject(n8n=settings))

    assert_wrong(line, "points to https://n8n.test/webhook/aigen.", "set AIGEN_N8N__WEBHOOK_URL")


def assert_wrong(line: Finding, found: str, advice: str) -> None:
    assert (line.mark, found in line.found, advice in line.advice) == (Mark.WRONG, True, True), line
    assert "secret" not in line.found
