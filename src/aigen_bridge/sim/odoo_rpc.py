"""Odoo's JSON-RPC envelope, in 18 and 19. Both results and faults are sent inside HTTP 200."""

from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

CLOSE = {"Connection": "close"}
"""Odoo's own server speaks HTTP/1.0: every response ends the connection."""
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/odoo/odoo/http.py", line 1788, in _serve_db\n'
LOGINS_IGNORED = "Too many login failures, please wait a bit before trying again."


def version(series: str) -> dict[str, Any]:
    """Returns what an Odoo of this series, such as `18.0`, tells about itself."""
    major, _, minor = series.partition(".")
    return {
        "server_version": series,
        "server_version_info": [int(major), int(minor), 0, "final", 0, ""],
        "server_serie": series,
        "protocol_version": 1,
    }


class RpcFault(Exception):  # noqa: N818 - the protocol's term
    """A Python exception in Odoo; `name` is its class as in `error.data.name`.

    `over_json2` has the class and the message over JSON-2, where they differ.
    """

    def __init__(self, name: str, message: str, *, over_json2: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.over_json2 = over_json2


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


def fault(call_id: Any, error: RpcFault, code: int = 200) -> Response:
    """Wraps an exception. Odoo 18 sends the code 200, 19 the code 0."""
    details = {
        "name": error.name,
        "debug": f"{TRACEBACK}{error.name}: {error.message}\n",
        "message": error.message,
        "arguments": [error.message],
        "context": {},
    }
    body = {"code": code, "message": "Odoo Server Error", "data": details}
    return JSONResponse({"jsonrpc": "2.0", "id": call_id, "error": body}, headers=CLOSE)


def user_error(message: str) -> RpcFault:
    """Returns the exception that Odoo raises for a mistake of the caller."""
    return RpcFault("odoo.exceptions.UserError", message)


def validation_error(message: str) -> RpcFault:
    """Returns the exception that Odoo raises for values that break a rule."""
    return RpcFault("odoo.exceptions.ValidationError", message)
