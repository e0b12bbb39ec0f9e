"""Both sides of one contract: the simulated Odoo, and the addon in a real one."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from real_odoo import DATABASE, RealOdoo, odoo_versions

LOGIN = "aigen-bridge"
KEY = "key-of-the-bot-user"
SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first with the addon waits until Odoo is installed."""
    for item in items:
        if "contract/odoo" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(1200))


class Records(Protocol):
    """How a test looks behind the interface."""

    async def create(self) -> str:
        """A new request that a person made; returns its requestId."""

    async def read(self, request_id: str) -> dict[str, Any]:
        """Its `status`, `version`, `error_code`, `error_message` and `content` (the bytes, or None)."""


@dataclass(frozen=True)
class Side:
    """One of the two, as the bridge calls it."""

    url: str
    key: str
    records: Records
    version: int = 18

    async def rpc(self, service: str, method: str, *args: Any) -> dict[str, Any]:
        """A JSON-RPC call; returns the whole answer."""
        params = {"service": service, "method": method, "args": args}
        async with httpx.AsyncClient(timeout=SECONDS) as http:
            body = {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}
            answer = await http.post(f"{self.url}/jsonrpc", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def uid(self) -> int:
        """The id of the bridge's user."""
        return int((await self.rpc("common", "login", DATABASE, LOGIN, self.key))["result"])

    async def call(self, model: str, method: str, *args: Any) -> dict[str, Any]:
        """Call a method as the bridge's user."""
        return await self.rpc("object", "execute_kw", DATABASE, await self.uid(), self.key, model, method, list(args))

    async def apply(self, payload: Any) -> dict[str, Any]:
        """Report a result; returns what the method answered."""
        answer = await self.call("aigen.image.request", "bridge_apply_result", payload)
        assert "error" not in answer, answer["error"]["data"]["message"]
        return dict(answer["result"])

    async def fault(self, *call: Any) -> tuple[str, str]:
        """Class and message of the fault that a call ends in."""
        return named(await self.call(*call))


def named(answer: dict[str, Any]) -> tuple[str, str]:
    """Class and message of a fault."""
    data = answer["error"]["data"]
    assert answer["error"]["code"] in {200, 0}  # Odoo 18, 19
    return data["name"], data["message"]


@dataclass(frozen=True)
class SimulatedRecords:
    simulator: OdooSimulator

    async def create(self) -> str:
        return self.simulator.records.create(str(uuid4())).request_id

    async def read(self, request_id: str) -> dict[str, Any]:
        record = self.simulator.records[request_id]
        return {
            "status": record.status,
            "version": record.version,
            "error_code": record.error_code,
            "error_message": record.error_message,
            "content": self.simulator.records.image(request_id),
        }


@dataclass(frozen=True)
class RealRecords:
    odoo: RealOdoo

    async def create(self) -> str:
        return await asyncio.to_thread(self._create)

    def _create(self) -> str:
        call = self.odoo.as_person
        [model, *_] = call("ann", "aigen.image.model", "search", [])
        record = call("ann", "aigen.image.request", "create", {"prompt": "A lighthouse", "model_id": model})
        return str(call("ann", "aigen.image.request", "read", [record], ["request_id"])[0]["request_id"])

    async def read(self, request_id: str) -> dict[str, Any]:
        return await asyncio.to_thread(self._read, request_id)

    def _read(self, request_id: str) -> dict[str, Any]:
        fields = ["status", "version", "error_code", "error_message", "attachment_id"]
        domain = [("request_id", "=", request_id)]
        [record] = self.odoo.as_person("ann", "aigen.image.request", "search_read", domain, fields)
        attachment = record["attachment_id"]
        content = None
        if attachment:
            [file] = self.odoo.as_person("ann", "ir.attachment", "read", [attachment[0]], ["datas"])
            content = base64.b64decode(file["datas"])
        return {
            "status": record["status"],
            "version": record["version"],
            "error_code": record["error_code"] or None,
            "error_message": record["error_message"] or None,
            "content": content,
        }


@pytest.fixture(params=["simulator", *odoo_versions()])
async def side(request: pytest.FixtureRequest, odoo_of: Callable[[str], RealOdoo]) -> AsyncIterator[Side]:
    """The tests of this folder hold for the simulator and for the addon in each version of Odoo."""
    if request.param != "simulator":
        odoo = odoo_of(request.param)
        yield Side(odoo.url, odoo.key, RealRecords(odoo), version=int(odoo.version))
        return
    simulator = OdooSimulator(OdooSettings(api_key=KEY, database=DATABASE, create_missing=False))
    async with serving(simulator.app) as url:
        yield Side(url, KEY, SimulatedRecords(simulator))
