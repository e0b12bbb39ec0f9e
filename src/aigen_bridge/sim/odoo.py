"""Simulates Odoo 18 or 19 with the addon: `/jsonrpc`, and in 19 `/json/2`, with the responses of the real server."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim import odoo_json2 as json2
from aigen_bridge.sim import odoo_rpc as rpc
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.odoo_payload import MAX_BYTES
from aigen_bridge.sim.odoo_records import Record, Records
from aigen_bridge.sim.odoo_rpc import RpcFault
from aigen_bridge.sim.simulator import Clock, Received, Simulator, retry_after

__all__ = ["OdooSettings", "OdooSimulator", "Record", "Records"]

MODEL = "aigen.image.request"
METHOD = "bridge_apply_result"
LIMITS = "bridge_limits"
MODELS = frozenset({MODEL, "res.users", "res.partner", "ir.attachment"})
TOO_FEW = ("builtins.IndexError", "list index out of range")
TOO_FEW_19 = ("builtins.ValueError", "not enough values to unpack (expected 5, got 1)")
METHODS_OF_EVERY_MODEL = frozenset({"create", "read", "search", "search_read", "unlink", "write"})
"""Methods that exist but that the bridge's user may not call, because its group permits only `METHOD`."""


@dataclass(frozen=True, kw_only=True)
class OdooSettings:
    """Behaviour of the simulated Odoo."""

    api_key: str = field(repr=False)
    """API key of the bridge's user."""
    database: str = "odoo"
    """Name of the only database."""
    series: str = "18.0"
    """The version: from `19.0` on it has `/json/2`."""
    database_uuid: str = ""
    """The uuid of the database. Empty: one that is made of the name of the database and the key at the start."""
    tells_database: bool = True
    """Whether the addon tells and checks the uuid of the database; False: the addon of the version before."""
    login: str = "aigen-bridge"
    """Login of the bridge's user."""
    uid: int = 7
    """Id of the bridge's user."""
    seconds: float = 0.0
    """Duration of a call to a model's method."""
    create_missing: bool = True
    """Create the record of an unknown requestId; False: respond with a UserError, as the addon does."""
    addon: bool = True
    """Whether the addon is installed."""
    cooldown_after: int = 0
    """Failed logins in a row after which logins are ignored for a while. 0: never, as in Odoo 18 over JSON-RPC; with a
    module that protects it, 5 for each address is usual, as in the browser."""
    cooldown_seconds: float = 60.0
    """How long they are ignored after the last failed one."""
    max_image_bytes: int = MAX_BYTES
    """Maximum size of an image, as the addon's system parameter says."""
    may_apply: bool = True
    """Whether the bridge's user may call `METHOD`."""
    state_path: Path | None = None
    """Folder that stores the applied effects and survives a killed simulator; None: memory only."""
    seed: int = 0
    """Seed for faults with a `chance`."""


class OdooSimulator(Simulator):
    """An Odoo with one database, one user and one relevant model. Routes for faults: `jsonrpc`, `json2`, `version`.

    `database_uuid` is that of its database. Assigning another one replaces the database by a copy.
    """

    def __init__(self, settings: OdooSettings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        made = uuid5(NAMESPACE_DNS, f"{settings.database} {settings.api_key}")
        self.database_uuid = settings.database_uuid or str(made)
        self._failed_logins, self._failed_at, self._is_key_known = 0, 0.0, False
        self.records = Records(
            create_missing=settings.create_missing,
            folder=settings.state_path,
            max_image_bytes=settings.max_image_bytes,
        )
        super().__init__(seed=settings.seed, clock=clock)

    def routes(self) -> list[Route]:
        """Returns the server's endpoints and the controls of the records."""
        return [
            self.at("/jsonrpc", "jsonrpc", self._jsonrpc),
            self.at("/json/2/{model}/{method}", "json2", self._json2),
            self.at("/web/webclient/version_info", "version", self._version_info, faults_if_named=True),
            Route("/web/health", self._health),
            Route("/_sim/records", self._show_records),
            Route("/_sim/records", self._create_record, methods=["POST"]),
            Route("/_sim/records/{request_id}", self._show_record),
            Route("/_sim/records/{request_id}/image", self._show_image),
        ]

    def refusal(self, fault: Fault) -> Response:
        """Returns an HTML page, as the proxy in front of Odoo does."""
        page = f"<html><body><h1>{fault.status}</h1>{fault.detail}</body></html>"
        return HTMLResponse(page, fault.status, {**rpc.CLOSE, **retry_after(fault)})

    def summary(self, received: Received) -> Mapping[str, Any]:
        """Returns names and numbers only, because the arguments contain keys and images."""
        if "model" in (path := received.request.path_params):
            payload = received.json.get("payload") if isinstance(received.json, dict) else None
            return {"model": path["model"], "model_method": path["method"], **_payload_summary(payload)}
        call = rpc.parse(received.json)
        if call is None:
            return {}
        kept: dict[str, Any] = {"service": call.service, "method": call.method}
        match call.args:
            case [_, _, _, str(model), str(method), *arguments] if call.service == "object":
                kept |= {"model": model, "model_method": method, **_payload_summary(_first(arguments))}
        return kept

    async def _jsonrpc(self, received: Received) -> Response:
        call = rpc.parse(received.json)
        if call is None:
            return HTMLResponse("<h1>Bad Request</h1><p>Invalid JSON data</p>", 400, rpc.CLOSE)
        try:
            self._raise_injected_fault("jsonrpc")
            return rpc.result(call.id, await self._dispatch(call))
        except RpcFault as error:
            return rpc.fault(call.id, error, 0 if self._has_json2 else 200)

    @property
    def _has_json2(self) -> bool:
        return int(self.settings.series.partition(".")[0]) >= 19  # noqa: PLR2004 - the version

    async def _json2(self, received: Received) -> Response:
        """Answers in the order of the real one: the database, the key, the model, the method, the arguments."""
        headers, path = received.request.headers, received.request.path_params
        if not self._has_json2:
            return json2.to_login(received.request.url.path)
        if headers.get("X-Odoo-Database", self.settings.database) != self.settings.database:
            return json2.no_database()
        try:
            return json2.result(await self._call_json2(received, path["model"], path["method"]))
        except RpcFault as error:
            return json2.fault(error)

    async def _call_json2(self, received: Received, model: str, method: str) -> Any:
        self._raise_injected_fault("json2")
        if not self._is_key(json2.key_in(received.request.headers.get("Authorization", ""))):
            raise RpcFault(json2.UNAUTHORIZED[1], "Invalid apikey")
        if received.json is None and received.raw:
            raise RpcFault(json2.BAD_REQUEST[1], "could not parse the body as json")
        await asyncio.sleep(self.settings.seconds)
        return self._run(model, method, [], received.json, by_name=True)

    def _raise_injected_fault(self, route: str) -> None:
        fault = self.faults.take(route, {FaultKind.ODOO_ERROR})
        if fault is not None:
            raise RpcFault(fault.name or "builtins.RuntimeError", fault.detail or "A fault on command")

    async def _dispatch(self, call: rpc.Call) -> Any:
        match call.service, call.method, call.args:
            case "common", "version", _:
                return rpc.version(self.settings.series)
            case "common", "login" | "authenticate", [database, login, key, *_]:
                return self._login(database, login, key)
            case "common", "login" | "authenticate", _:
                raise RpcFault(*TOO_FEW)
            case "common", _, _:
                raise RpcFault("builtins.Exception", f"Method not found: {call.method}")
            case "object", _, _:
                return await self._object(call)
        raise RpcFault("builtins.KeyError", repr(call.service))

    def _login(self, database: Any, login: Any, key: Any) -> int | bool:
        self._check_database(database)
        if self._ignores_logins():
            return False  # as `login` answers every AccessDenied
        return self.settings.uid if self._try_login(login == self.settings.login and self._is_key(key)) else False

    def _try_login(self, is_right: bool) -> bool:  # noqa: FBT001
        """Counts failed logins in a row."""
        self._failed_logins = 0 if is_right else self._failed_logins + 1
        self._failed_at = self.clock()
        return is_right

    def _ignores_logins(self) -> bool:
        after = self.settings.cooldown_after
        ends_at = self._failed_at + self.settings.cooldown_seconds
        return 0 < after <= self._failed_logins and self.clock() < ends_at

    def _check_access(self, uid: Any, key: Any) -> None:
        """Checks user and key of a call. Odoo remembers those that were right, and logs in with others."""
        is_right = uid == self.settings.uid and self._is_key(key)
        if is_right and self._is_key_known:
            return
        if self._ignores_logins():
            raise RpcFault("odoo.exceptions.AccessDenied", rpc.LOGINS_IGNORED)
        if not self._try_login(is_right):
            raise RpcFault("odoo.exceptions.AccessDenied", "Access Denied")
        self._is_key_known = True

    async def _object(self, call: rpc.Call) -> Any:
        if len(call.args) < 5:  # noqa: PLR2004 - database, uid, key, model, method
            raise RpcFault(*(TOO_FEW_19 if self._has_json2 else TOO_FEW))
        database, uid, key, model, method, *rest = call.args
        self._check_database(database)
        self._check_access(uid, key)
        if call.method not in {"execute", "execute_kw"}:
            raise RpcFault("builtins.NameError", f"Method not available {call.method}")
        arguments, keywords = _arguments(call.method, rest)
        await asyncio.sleep(self.settings.seconds)
        return self._run(model, method, arguments, keywords)

    def _run(self, model: str, method: str, arguments: list[Any], keywords: Any, *, by_name: bool = False) -> Any:
        if model not in (MODELS if self.settings.addon else MODELS - {MODEL}):
            other = (json2.NOT_FOUND[1], f"the model {model!r} does not exist")
            raise RpcFault("odoo.exceptions.UserError", f"Object {model} doesn't exist", over_json2=other)
        if method.startswith("_"):
            message = f"Private methods (such as '{model}.{method}') cannot be called remotely."
            raise RpcFault("odoo.exceptions.AccessError", message)
        if (model, method) == ("res.users", "context_get"):
            return {"lang": "en_US", "tz": "UTC", "uid": self.settings.uid}
        if (model, method) == (MODEL, "has_access"):
            return False  # the group of the bridge's user opens one method, and no records
        if method in METHODS_OF_EVERY_MODEL:
            raise RpcFault("odoo.exceptions.AccessError", f"You are not allowed to access '{model}' records.")
        if model != MODEL or method not in {METHOD, LIMITS}:
            message = f"The method '{model}.{method}' does not exist"
            raise RpcFault("builtins.AttributeError", message, over_json2=(json2.NOT_FOUND[1], message))
        if by_name:
            keywords = json2.named(keywords, () if method == LIMITS else ("payload",))
        return self._run_addon(method, arguments, keywords)

    def _run_addon(self, method: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        if not self.settings.may_apply:
            raise RpcFault("odoo.exceptions.AccessError", f"You are not allowed to modify '{MODEL}' records.")
        told = {"databaseUuid": self.database_uuid} if self.settings.tells_database else {}
        if method == LIMITS:
            return {"imageBytes": self.settings.max_image_bytes, **told}
        payload = _payload(arguments, keywords)
        if told and self._is_for_another_database(payload):
            return {"applied": False, "recordId": 0, "attachmentId": False, **told}
        return {**self.records.apply(payload), **told}

    def _is_for_another_database(self, payload: Any) -> bool:
        known = payload.get("databaseUuid") if isinstance(payload, dict) else None
        return isinstance(known, str) and known.lower() != self.database_uuid.lower()

    def _check_database(self, database: Any) -> None:
        if database != self.settings.database:
            message = f'connection to server failed: FATAL:  database "{database}" does not exist\n'
            raise RpcFault("psycopg2.OperationalError", message)

    def _is_key(self, key: Any) -> bool:
        return secrets.compare_digest(str(key).encode(), self.settings.api_key.encode())

    async def _version_info(self, received: Received) -> Response:
        call_id = received.json.get("id") if isinstance(received.json, dict) else None
        return rpc.result(call_id, rpc.version(self.settings.series))

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "pass"}, headers=rpc.CLOSE)

    async def _show_records(self, _request: Request) -> Response:
        return JSONResponse([self.records.as_json(record.request_id) for record in self.records])

    async def _create_record(self, request: Request) -> Response:
        try:
            name = (await request.json())["requestId"]
        except (ValueError, LookupError, TypeError):
            return JSONResponse({"detail": "the body must be a JSON object with a requestId"}, 422)
        self.records.create(str(name))
        return JSONResponse(self.records.as_json(str(name)), 201)

    async def _show_record(self, request: Request) -> Response:
        name = request.path_params["request_id"]
        if name not in self.records:
            return JSONResponse({"detail": "no such record"}, 404)
        return JSONResponse(self.records.as_json(name))

    async def _show_image(self, request: Request) -> Response:
        name = request.path_params["request_id"]
        image, record = self.records.image(name), self.records.get(name)
        if image is None or record is None or record.image is None:
            return JSONResponse({"detail": "no image"}, 404)
        return Response(image, media_type=f"image/{record.image['format']}")


def _arguments(method: str, rest: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Returns positional and keyword arguments: `execute` spreads them, `execute_kw` packs them."""
    if method == "execute":
        return rest, {}
    match rest:
        case []:
            return [], {}
        case [[*arguments]]:
            return arguments, {}
        case [[*arguments], dict(keywords)]:
            return arguments, keywords
    raise RpcFault("builtins.TypeError", "execute_kw takes a list of arguments and a dictionary of keywords")


def _payload(arguments: list[Any], keywords: dict[str, Any]) -> Any:
    match arguments, keywords:
        case [payload], _:
            return payload
        case [], {"payload": payload, **rest} if not rest.keys() - {"context"}:
            return payload
    raise RpcFault("builtins.TypeError", f"{METHOD}() takes exactly one argument: 'payload'")


def _first(arguments: list[Any]) -> Any:
    """Returns the first argument, however `execute` and `execute_kw` pass it."""
    match arguments:
        case [[], {"payload": payload}] | [[payload, *_], *_] | [payload, *_]:
            return payload
    return None


def _payload_summary(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict) or "requestId" not in payload:
        return {}
    return {name: payload.get(name) for name in ("requestId", "version", "status")}
