"""Both sides of one contract: the simulated Odoo, and the addon in a real one; over JSON-RPC and over JSON-2."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.clients.odoo import OdooTransport
from aigen_bridge.clients.odoo_auto import odoo_transport
from aigen_bridge.domain.errors import PermanentError
from aigen_bridge.settings.sections import OdooSettings as Settings
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
class Place:
    """An Odoo, simulated or real, and raw calls to it."""

    url: str
    key: str
    records: Records
    version: int

    def settings(self, transport: str, **changes: Any) -> Settings:
        """The section `odoo` of the settings of a bridge that uses it."""
        given = {"url": self.url, "database": DATABASE, "login": LOGIN, "api_key": self.key, "concurrency": 4}
        return Settings(**(given | {"transport": transport} | changes))

    async def rpc(self, service: str, method: str, *args: Any) -> dict[str, Any]:
        """A call over JSON-RPC; returns the whole answer."""
        params = {"service": service, "method": method, "args": args}
        async with httpx.AsyncClient(timeout=SECONDS) as http:
            body = {"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}
            answer = await http.post(f"{self.url}/jsonrpc", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def uid(self) -> int:
        """The id of the bridge's user."""
        return int((await self.rpc("common", "login", DATABASE, LOGIN, self.key))["result"])

    async def json2(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """A call over JSON-2; `path` is the model and the method."""
        sent = {"Authorization": f"bearer {self.key}", "X-Odoo-Database": DATABASE}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(timeout=SECONDS) as http:
            return await http.post(f"{self.url}/json/2/{path}", json=body, headers=sent | given)


@dataclass(frozen=True)
class Side:
    """An Odoo as the bridge calls it, over one transport."""

    place: Place
    transport_name: str
    transport: OdooTransport

    @property
    def records(self) -> Records:
        return self.place.records

    @property
    def protocol(self) -> str:
        return self.transport.protocol

    @property
    def is_real(self) -> bool:
        return isinstance(self.records, RealRecords)

    async def call(self, model: str, method: str, **arguments: Any) -> Any:
        """Calls a method as the bridge's user."""
        return await self.transport.call(model, method, arguments)

    async def apply(self, payload: Any) -> dict[str, Any]:
        """Reports a result; returns what the method answered."""
        return dict(await self.call("aigen.image.request", "bridge_apply_result", payload=payload))

    async def fault(self, model: str, method: str, **arguments: Any) -> tuple[str, str]:
        """Code and message of the permanent error that a call ends in."""
        with pytest.raises(PermanentError) as caught:
            await self.call(model, method, **arguments)
        return caught.value.code, caught.value.detail


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


SIMULATED = {"simulator 18": "18.0", "simulator 19": "19.0"}
PLACES = [*SIMULATED, *odoo_versions()]
HAVE_JSON2 = [place for place in PLACES if place.endswith("19")]


@asynccontextmanager
async def placed(name: str, odoo_of: Callable[[str], RealOdoo]) -> AsyncIterator[Place]:
    """An Odoo by its name in `PLACES`."""
    if name not in SIMULATED:
        odoo = odoo_of(name)
        yield Place(odoo.url, odoo.key, RealRecords(odoo), int(odoo.version))
        return
    series = SIMULATED[name]
    simulator = OdooSimulator(OdooSettings(api_key=KEY, database=DATABASE, create_missing=False, series=series))
    async with serving(simulator.app) as url:
        yield Place(url, KEY, SimulatedRecords(simulator), int(series[:2]))


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, odoo_of: Callable[[str], RealOdoo]) -> AsyncIterator[Place]:
    """Each Odoo."""
    async with placed(request.param, odoo_of) as place:
        yield place


@pytest.fixture(params=HAVE_JSON2)
async def place19(request: pytest.FixtureRequest, odoo_of: Callable[[str], RealOdoo]) -> AsyncIterator[Place]:
    """Each Odoo with JSON-2."""
    async with placed(request.param, odoo_of) as place:
        yield place


@pytest.fixture(
    params=[
        *(pytest.param((place, "jsonrpc"), id=f"{place} jsonrpc") for place in PLACES if place != "simulator 19"),
        *(pytest.param((place, "json2"), id=f"{place} json2") for place in HAVE_JSON2),
    ]
)
async def side(request: pytest.FixtureRequest, odoo_of: Callable[[str], RealOdoo]) -> AsyncIterator[Side]:
    """Each Odoo over each transport that it has."""
    name, transport = request.param
    async with (
        placed(name, odoo_of) as place,
        aclosing(odoo_transport(place.settings(transport))) as opened,
    ):
        yield Side(place, transport, opened)
