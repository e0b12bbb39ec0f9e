"""Odoo 18's JSON-RPC envelope: results and faults both arrive inside HTTP 200."""

from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

CLOSE = {"Connection": "close"}
"""Odoo's own server speaks HTTP/1.0: every answer ends the connection."""
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/odoo/odoo/http.py", line 1788, in _serve_db\n'
VERSION = {
    "server_version": "18.0",
    "server_version_info": [18, 0, 0, "final", 0, ""],
    "server_serie": "18.0",
    "protocol_version": 1,
}


class RpcFault(Exception):  # noqa: N818 - a fault is what the protocol calls it
    """A Python exception on Odoo's side; `name` is its class as `error.data.name` carries it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


@dataclass(frozen=True)
class Call:
    """What a JSON-RPC request asks for."""

    id: Any
    service: str
    method: str
    args: list[Any] = field(repr=False)


def parse(body: Any) -> Call | None:
    """Return the call, or None for a body that is no JSON-RPC."""
    match body:
        case {"params": {"service": str(service), "method": str(method), "args": [*args]}}:
            return Call(body.get("id"), service, method, args)
    return None


def result(call_id: Any, value: Any) -> Response:
    """Wrap what a method returned; None means that there is no `result` key at all."""
    answer = {"jsonrpc": "2.0", "id": call_id}
    return JSONResponse(answer if value is None else {**answer, "result": value}, headers=CLOSE)


def fault(call_id: Any, error: RpcFault) -> Response:
    """Wrap an exception."""
    details = {
        "name": error.name,
        "debug": f"{TRACEBACK}{error.name}: {error.message}\n",
        "message": error.message,
        "arguments": [error.message],
        "context": {},
    }
    body = {"code": 200, "message": "Odoo Server Error", "data": details}
    return JSONResponse({"jsonrpc": "2.0", "id": call_id, "error": body}, headers=CLOSE)


def user_error(message: str) -> RpcFault:
    """Return what Odoo raises for a mistake of the caller."""
    return RpcFault("odoo.exceptions.UserError", message)


def validation_error(message: str) -> RpcFault:
    """Return what Odoo raises for values that break a rule."""
    return RpcFault("odoo.exceptions.ValidationError", message)
