"""Chooses how Odoo is called: JSON-2 from Odoo 19 on, otherwise JSON-RPC."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from aigen_bridge.clients.odoo import OdooTransport
from aigen_bridge.clients.odoo_errors import major
from aigen_bridge.clients.odoo_json2 import SINCE, OdooJson2
from aigen_bridge.clients.odoo_jsonrpc import OdooJsonRpc
from aigen_bridge.domain.destination import ODOO, ODOO_CALLS_MAX
from aigen_bridge.domain.errors import StepError, TransientError

ASK_SECONDS = 3.0
"""The longest time to wait for the version. It is taken from the timeout of the calls, at most a quarter of it."""
ASK_AGAIN = timedelta(hours=1)

T = TypeVar("T")


class Access(Protocol):
    """Where an Odoo database is, and how it is called: the settings of one Odoo."""

    @property
    def url(self) -> str: ...
    @property
    def database(self) -> str: ...
    @property
    def login(self) -> str: ...
    @property
    def api_key(self) -> SecretStr: ...
    @property
    def transport(self) -> str: ...
    @property
    def timeout(self) -> timedelta: ...


class OdooAuto:
    """An `OdooTransport` that asks Odoo for its version and remembers the answer.

    Without an answer it uses JSON-RPC for that call. It asks again after an hour, and after Odoo was away or something
    else answered in its place: an upgrade looks like that.
    """

    def __init__(
        self,
        jsonrpc: OdooJsonRpc,
        json2: OdooJson2,
        *,
        ask_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jsonrpc, self._json2 = jsonrpc, json2
        self._ask_seconds = ask_seconds
        self._clock = clock
        self._chosen: OdooTransport = jsonrpc
        self._ask_at = 0.0
        self._asking, self._questions = asyncio.Lock(), 0

    @property
    def protocol(self) -> str:
        """The protocol of the last call."""
        return self._chosen.protocol

    async def call(self, model: str, method: str, arguments: Mapping[str, Any]) -> Any:
        """Calls a method of a model by the transport that Odoo's version has."""
        return await self._through(lambda transport: transport.call(model, method, arguments))

    async def version(self) -> str:
        """Asks for the version by the transport that it has."""
        return await self._through(lambda transport: transport.version())

    async def login(self) -> None:
        """Logs in as `call` does."""
        await self._through(lambda transport: transport.login())

    async def aclose(self) -> None:
        """Closes both transports."""
        await self._jsonrpc.aclose()
        await self._json2.aclose()

    async def _through(self, use: Callable[[OdooTransport], Awaitable[T]]) -> T:
        chosen = await self._choose()
        try:
            return await use(chosen)
        except TransientError as error:
            if error.away:
                self._ask_at = 0.0
            raise

    async def _choose(self) -> OdooTransport:
        """Returns the transport, and asks for the version before if it is time. Calls at the same time ask once."""
        asked = self._questions
        if self._clock() >= self._ask_at:
            async with self._asking:
                if self._questions == asked:
                    await self._ask()
                    self._questions += 1
        return self._chosen

    async def _ask(self) -> None:
        try:
            version = major(await self._json2.version(self._ask_seconds))
        except StepError:
            self._chosen, self._ask_at = self._jsonrpc, 0.0
        else:
            self._chosen = self._json2 if version >= SINCE else self._jsonrpc
            self._ask_at = self._clock() + ASK_AGAIN.total_seconds()


def odoo_transport(odoo: Access, destination: str = ODOO.name) -> OdooTransport:
    """Returns the transport that the settings of an Odoo name. `destination` names the Odoo in logs and metrics."""
    ask = min(ASK_SECONDS, odoo.timeout.total_seconds() / 4) if odoo.transport == "auto" else 0.0
    shared: dict[str, Any] = {
        "database": odoo.database,
        "api_key": odoo.api_key.get_secret_value(),
        "timeout": odoo.timeout.total_seconds() - ask,
        "concurrency": ODOO_CALLS_MAX,  # the breaker limits the calls, and operators change that limit
        "destination": destination,
    }
    if odoo.transport == "json2":
        return OdooJson2(odoo.url, **shared)
    jsonrpc = OdooJsonRpc(odoo.url, login=odoo.login, **shared)
    return OdooAuto(jsonrpc, OdooJson2(odoo.url, **shared), ask_seconds=ask) if ask else jsonrpc
