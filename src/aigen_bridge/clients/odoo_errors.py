"""Translates what odoorpc raises. Odoo's faults arrive inside HTTP 200; their class is in `error.data.name`."""

import http.client
import json
import urllib.error
from collections.abc import Mapping
from typing import Any

from odoorpc.error import RPCError

from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

MESSAGE_MAX = 500
BUG_TRIES = 3
"""Tries for an unknown fault: a bug on the server, or a passing state of an upgrade."""

PERMANENT = frozenset(
    {
        "odoo.exceptions.AccessError",
        "odoo.exceptions.AccessDenied",
        "odoo.exceptions.ValidationError",
        "odoo.exceptions.UserError",
        "odoo.exceptions.MissingError",
        "builtins.ValueError",
        "builtins.AttributeError",
        "builtins.IndexError",
        "builtins.TypeError",
        "builtins.KeyError",
    }
)
DATABASE_AWAY = ("psycopg2.OperationalError", "psycopg2.InterfaceError")
"""Odoo's database is unknown or does not answer."""
TRANSIENT_PREFIXES = (*DATABASE_AWAY, "psycopg2.errors.")
"""These include write conflicts that remain after Odoo's own five tries."""
AWAY_STATUSES = frozenset({404, 502, 503, 504})
"""Answers of a proxy that cannot reach Odoo. Odoo 18 and 19 always have `/jsonrpc`, so 404 is one of them."""

UNREACHABLE = (OSError, http.client.HTTPException)
"""Refused, reset, timed out, empty answer. The call may have taken effect."""


def translate(error: Exception) -> StepError:
    """Translates an odoorpc error into a `StepError`. Raises unknown errors unchanged.

    Odoo's traceback (`error.data.debug`) is dropped.
    """
    if isinstance(error, RPCError):
        return _fault(error.info) if error.info else _login_refused()
    if isinstance(error, urllib.error.HTTPError):
        return _http(error)
    if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
        return TransientError("odoo_timeout", "Odoo did not answer in time.")
    if isinstance(error, UNREACHABLE):
        return TransientError("odoo_unreachable", f"Odoo could not be reached ({error}).", away=True)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return TransientError("odoo_answer_unreadable", "The answer is not JSON, so it is not Odoo's.", away=True)
    raise error


def _login_refused() -> PermanentError:
    return PermanentError(
        "odoo_login_refused",
        "Odoo refused the login. Check AIGEN_ODOO__LOGIN and AIGEN_ODOO__API_KEY, and whether the key has expired.",
    )


def _fault(info: Mapping[str, Any]) -> StepError:
    fault = info.get("data") or {}
    name = str(fault.get("name", "unknown"))
    message = " ".join(str(fault.get("message", "")).split())[:MESSAGE_MAX]
    detail = f"Odoo answered {name}: {message}"
    code = "odoo_" + name.rpartition(".")[2].lower()
    if name in PERMANENT:
        return PermanentError(code, detail, http_status=200)
    tries = None if name.startswith(TRANSIENT_PREFIXES) else BUG_TRIES
    return TransientError(code, detail, http_status=200, tries=tries, away=name.startswith(DATABASE_AWAY))


def _http(error: urllib.error.HTTPError) -> StepError:
    error.close()  # releases the connection
    detail = f"Odoo's web server answered {error.code} {error.reason}."
    away = error.code in AWAY_STATUSES
    if away or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR or error.code in {408, 425, 429}:
        return TransientError(f"odoo_http_{error.code}", detail, http_status=error.code, away=away)
    return PermanentError(f"odoo_http_{error.code}", detail, http_status=error.code)
