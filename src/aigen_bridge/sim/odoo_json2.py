"""Odoo 19's JSON-2: results are the whole body, faults have real HTTP statuses. Measured on 19.0."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, JSONResponse, Response

from aigen_bridge.sim.odoo_rpc import CLOSE, TRACEBACK, RpcFault

NOT_FOUND, UNPROCESSABLE = (404, "werkzeug.exceptions.NotFound"), (422, "werkzeug.exceptions.UnprocessableEntity")
UNAUTHORIZED, BAD_REQUEST = (401, "werkzeug.exceptions.Unauthorized"), (400, "werkzeug.exceptions.BadRequest")
STATUSES = {
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.ValidationError": 422,
    "odoo.exceptions.AccessError": 403,
    "odoo.exceptions.AccessDenied": 403,
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.LockError": 409,
    "odoo.http.SessionExpiredException": 403,
    **{name: status for status, name in (NOT_FOUND, UNPROCESSABLE, UNAUTHORIZED, BAD_REQUEST)},
}
"""HTTP statuses of faults. All others are 500."""
NO_DATABASE = """\
<!DOCTYPE html>
<title>404 Not Found</title>
<h1>Not Found</h1>
<p>No database is selected and the requested URL was not found in the server-wide controllers.</p>
<p>Please verify the hostname, <a href=/web/login>login</a> and try again.</p>

<!-- Alternatively, use the X-Odoo-Database header. -->
"""


def result(value: Any) -> Response:
    """Returns a method's return value, which is `null` for None."""
    return JSONResponse(value, headers=CLOSE)


def fault(error: RpcFault) -> Response:
    """Returns an exception with its status."""
    name, message = error.over_json2 or (error.name, error.message)
    status = STATUSES.get(name, 500)
    body: dict[str, Any] = {
        "name": name,
        "message": message,
        "arguments": [message, status] if name.startswith("werkzeug.") else [message],
        "context": {},
        "debug": f"{TRACEBACK}{name}: {message}\n",
    }
    headers = CLOSE | ({"WWW-Authenticate": "Bearer "} if status == 401 else {})  # noqa: PLR2004
    return JSONResponse(body, status, headers)


def no_database() -> Response:
    """Returns the page for a database that Odoo does not have."""
    return HTMLResponse(NO_DATABASE, 404, CLOSE)


def to_login(path: str) -> Response:
    """Returns what Odoo 18, which has no JSON-2, answers: it sends a browser to its login page."""
    where = f"/web/login?{urlencode({'redirect': path})}"
    return HTMLResponse("<h1>Redirecting...</h1>", 303, CLOSE | {"Location": where})


def key_in(header: str) -> str:
    """Returns the key in an `Authorization` header; empty if there is none."""
    scheme, _, key = header.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def named(body: Any, parameters: tuple[str, ...]) -> dict[str, Any]:
    """Returns the arguments of a call by name. Raises RpcFault when one is missing or unknown.

    `ids` and `context` are no arguments. A body that is no object has no arguments.
    """
    fields = body if isinstance(body, dict) else {}
    given: dict[str, Any] = {name: value for name, value in fields.items() if name not in {"ids", "context"}}
    for name in parameters:
        if name not in given:
            raise RpcFault(UNPROCESSABLE[1], f"missing a required argument: {name!r}")
    for name in given:
        if name not in parameters:
            raise RpcFault(UNPROCESSABLE[1], f"got an unexpected keyword argument {name!r}")
    return given
