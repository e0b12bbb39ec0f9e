"""Odoo 18's JSON-RPC envelope. Both results and faults are sent inside HTTP 200."""

from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

CLOSE = {"Connection": "close"}
"""Odoo's own server speaks HTTP/1.0: every response ends the connection."""
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/odoo/odoo/http.py", line 1788, in _serve_db\n'
LOGINS_IGNORED = "Too many login failures, please wait a bit before trying again."
VERSION = {
    "server_version": "18.0",
    "server_version_info": [18, 0, 0, "final", 0, ""],
    "server_serie": "18.0",
    "protocol_version": 1,
}


class RpcFault(Exception):  # noqa: N818 - the protocol's term
    """A Python exception in Odoo; `name` is its class as in `error.data.name`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


@dataclass(frozen=True)
class Call:
    """The call in a JSON-RPC request."""

    id: Any
    service: str
    method: str
    args: list[Any] = field(repr=False)


def parse(body: Any) -> Call | None:
    """Returns the call, or None when the body is not JSON-RPC."""
    match body:
        case {"params": {"service": str(service), "method": str(method), "args": [*args]}}:
            return Call(body.get("id"), service, method, args)
    return None


def result(call_id: Any, value: Any) -> Response:
    """Wraps a method's return value. For None, Odoo sends no `result` key."""
    answer = {"jsonrpc": "2.0", "id": call_id}
    return JSONResponse(answer if value is None else {**answer, "result": value}, headers=CLOSE)


def fault(call_id: Any, error: RpcFault) -> Response:
    """Wraps an exception."""
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
    """Returns the exception that Odoo raises for a mistake of the caller."""
    return RpcFault("odoo.exceptions.UserError", message)


def validation_error(message: str) -> RpcFault:
    """Returns the exception that Odoo raises for values that break a rule."""
    return RpcFault("odoo.exceptions.ValidationError", message)
