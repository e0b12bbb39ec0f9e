"""Decides which of Odoo's answers may pass by themselves.

JSON-RPC sends faults inside HTTP 200 (`error.data`), JSON-2 as the body of an HTTP error. In both, `name` is the class
of the fault. The errors have the same codes.
"""

import builtins
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx

from aigen_bridge.clients.http_errors import (
    is_transient,
    location,
    named,
    on_one_line,
    printable,
    retry_after,
    silence,
)
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

MESSAGE_MAX = 500
NAME_MAX = 60
SHOWN_MAX = 40
"""Characters of a value, and number of keys, by which an answer that cannot be read is described."""
BUG_TRIES = 3
"""Tries for an unknown fault: a bug on the server, or a passing state of an upgrade."""
COOLDOWN = timedelta(seconds=65)
"""Longer than the 60 s for which Odoo ignores logins from an address after each failed one, from the fifth on
(`base.login_cooldown_duration`). Odoo 18 does so in the browser but not over JSON-RPC; modules may add it there."""
AWAY_STATUSES = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers of another program in Odoo's place, such as a proxy while Odoo restarts, or its maintenance page (web servers
answer 405 to a POST to a file). Odoo 18 and 19 always have `/jsonrpc` and accept POST there, and 19 has `/json/2`."""


class Kind(Enum):
    """Who can mend a fault, which decides whether the call is repeated."""

    CALLER = "the bridge, its user's rights, or the addon: the same call fails again, so a person has to look"
    SERVER = "a passing state of Odoo: the call is repeated until the delivery is given up"
    DATABASE_AWAY = "Odoo is up, but its database is unknown or does not answer: it counts as away"
    UNKNOWN = "nobody can tell: a few tries, then a person has to look"


FAULTS = {
    "odoo.exceptions": Kind.CALLER,  # what Odoo tells people: the values, the rights, a missing record
    "odoo.exceptions.ConcurrencyError": Kind.SERVER,
    "odoo.exceptions.LockError": Kind.SERVER,
    "odoo.http": Kind.SERVER,  # no session or no registry
    "odoo.modules": Kind.SERVER,  # the registry is being loaded
    "odoo.service": Kind.SERVER,
    "odoo.sql_db": Kind.SERVER,
    "psycopg2": Kind.SERVER,  # conflicts after Odoo's own five tries, a full connection pool, cancelled statements
    "psycopg2.InterfaceError": Kind.DATABASE_AWAY,
    "psycopg2.OperationalError": Kind.DATABASE_AWAY,
    "http.client": Kind.SERVER,  # Odoo and its addons call other systems with these
    "requests": Kind.SERVER,
    "socket": Kind.SERVER,
    "ssl": Kind.SERVER,
    "urllib": Kind.SERVER,
    "urllib3": Kind.SERVER,
}
"""Kinds of faults by the name of their class, or by that of its module or package. The longest name counts."""
BUILTINS = (
    ((OSError, MemoryError), Kind.SERVER),  # a disk, a socket, the memory
    ((ValueError, TypeError, LookupError, AttributeError), Kind.CALLER),  # code that does not fit the call
)
PASSING_NAME = re.compile(r"(Timeout|TimeoutError|ConnectionError|OperationalError|InterfaceError|PoolError)$")
"""Names that say the same in every library: something that Odoo needs did not answer."""
REGISTRY_MISSING = re.compile(r"'?(res|ir)\.[a-z_.]+'?")
"""The whole message of the KeyError of an Odoo whose database is being restored or created: a model of its core."""
LOGINS_IGNORED = re.compile(r"too many login failures", re.IGNORECASE)
VERSION = re.compile("[0-9]+")
SESSION_ENDED = frozenset({"odoo_accessdenied", "odoo_sessionexpiredexception"})
"""Codes of the faults that another login may cure."""


def unanswered(error: httpx.HTTPError | TimeoutError, by_proxy: str = "") -> TransientError:
    """Returns the error for a missing answer. The call may have taken effect. `by_proxy` says which proxy is used."""
    said = silence(f"Odoo{by_proxy}", error)
    code = "odoo_timeout" if said.code == "timeout" else "odoo_unreachable"
    return TransientError(code, said.detail, away=said.away)


def refused(response: httpx.Response, url: str) -> StepError:
    """Returns the error for a non-2xx response, of which only status and headers count. Redirects are not followed."""
    status = response.status_code
    code, detail = f"odoo_http_{status}", f"Odoo's web server answered {named(response)}."
    if response.is_redirect:
        where = location(url, response.headers.get("location", ""))
        detail = (
            f"Odoo's web server answered {named(response)} and points to {where}. A result is not sent to another "
            "address. If this is where Odoo is now, set its URL to it (AIGEN_ODOO__URL, or in AIGEN_ODOOS); if not, "
            f"let the proxy pass {urlsplit(url).path}."
        )
    away = status in AWAY_STATUSES
    if not (away or is_transient(status)):
        return PermanentError(code, detail, http_status=status)
    wait = retry_after(response.headers.get("retry-after", ""))
    return TransientError(code, detail, http_status=status, retry_after=wait, away=away)


def result_of(response: httpx.Response, body: bytes, number: int | None) -> Any:
    """Returns the `result` of the answer to call `number`; None when the method returned nothing.

    Raises `TransientError` when the answer is not JSON-RPC (it is a proxy's, and passes), and the error of a fault.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        shown = on_one_line(body)
        raise unreadable(response, f"it is not JSON: {shown}" if shown else "it is empty") from None
    if not isinstance(answer, dict) or not answer.keys() & {"jsonrpc", "result", "error"}:
        raise unreadable(response, f"it is {described(answer)}")
    if answer.get("id") not in (None, number):
        raise unreadable(response, "it is the answer to another call, perhaps from a cache")
    if answer.get("error") is not None:
        raise _fault_of(response, answer["error"])
    return answer.get("result")


def version_in(answer: Any) -> str:
    """Returns the version in Odoo's answer to a question for it, such as `18.0`, `19.0-20251227` or `saas~18.3`."""
    version = answer.get("server_version") if isinstance(answer, dict) else None
    if not isinstance(version, str) or not VERSION.search(version):
        raise PermanentError("odoo_answer_unexpected", "The answer has no version in it, so it is not Odoo's.")
    return printable(version)[:SHOWN_MAX]


def major(version: str) -> int:
    """Returns the main number of a version that `version_in` returned, such as 19."""
    found = VERSION.search(version)
    return int(found[0]) if found else 0


def unreadable(response: httpx.Response, seen: str) -> TransientError:
    """Returns the error for an answer of another program in Odoo's place."""
    media_type = printable(response.headers.get("content-type", "no media type"))[:SHOWN_MAX]
    detail = (
        f"The answer ({response.status_code}, {media_type}) is not Odoo's: {seen[:MESSAGE_MAX]}. Check what answers at "
        "the URL of this Odoo (AIGEN_ODOO__URL, or in AIGEN_ODOOS), such as a proxy or a maintenance page."
    )
    return TransientError("odoo_answer_unreadable", detail, http_status=response.status_code, away=True)


def described(value: Any) -> str:
    """Describes a JSON value by its type, and an object by its keys and short values. Tracebacks are never short."""
    match value:
        case None | bool():
            return json.dumps(value)
        case dict():
            pairs = [_pair(*each) for each in list(value.items())[:SHOWN_MAX]]
            return f"an object with {', '.join(pairs)}" if pairs else "an empty object"
        case list():
            return "a list" if value else "an empty list"
        case str():
            return f"the text {printable(value)[:SHOWN_MAX]!r}"
    return "a number"


def _pair(key: str, value: Any) -> str:
    shown = printable(key)[:SHOWN_MAX]
    is_short = isinstance(value, str | int) and len(text := str(value)) <= SHOWN_MAX
    return f"{shown} {printable(text)!r}" if is_short else shown


def _fault_of(response: httpx.Response, error: Any) -> StepError:
    data = error.get("data") if isinstance(error, dict) else None
    if isinstance(data, dict) and isinstance(data.get("name"), str) and data["name"]:
        return fault(data)
    detail = f"Odoo reported an error without its class, {described(error)}. Read Odoo's log."
    return TransientError("odoo_answer_unreadable", detail, http_status=response.status_code, tries=BUG_TRIES)


def fault(data: Mapping[str, Any], status: int = HTTPStatus.OK) -> StepError:
    """Returns the error for a fault that came with this HTTP status. Odoo's traceback (`debug`) is dropped."""
    name, message = str(data["name"]), printable(str(data.get("message", "")))[:MESSAGE_MAX]
    detail = f"Odoo answered {printable(name)[:NAME_MAX]}: {message}"
    code = "odoo_" + (re.sub("[^a-z0-9_]", "", name.rpartition(".")[2].lower())[:NAME_MAX] or "unknown")
    if name == "odoo.exceptions.AccessDenied" and LOGINS_IGNORED.search(message):
        return TransientError("odoo_login_cooldown", detail, http_status=status, retry_after=COOLDOWN)
    kind = kind_of(name, message)
    if kind is Kind.CALLER:
        return PermanentError(code, detail, http_status=status)
    tries = BUG_TRIES if kind is Kind.UNKNOWN else None
    away = kind is Kind.DATABASE_AWAY
    return TransientError(code, detail, http_status=status, tries=tries, away=away)


def kind_of(name: str, message: str = "") -> Kind:
    """Returns the kind of a fault by the full name of its class, such as `psycopg2.pool.PoolError`."""
    known, class_name = name, name.rpartition(".")[2]
    while known:
        if known in FAULTS:
            return FAULTS[known]
        known = known.rpartition(".")[0]
    if name.startswith("builtins."):
        return _kind_of_builtin(class_name, message)
    if name.startswith("werkzeug."):
        return _kind_of_status(class_name)
    return Kind.SERVER if PASSING_NAME.search(class_name) else Kind.UNKNOWN


def _kind_of_builtin(class_name: str, message: str) -> Kind:
    if class_name == "KeyError" and REGISTRY_MISSING.fullmatch(message):
        return Kind.SERVER
    found = getattr(builtins, class_name, None)
    kinds = [kind for classes, kind in BUILTINS if isinstance(found, type) and issubclass(found, classes)]
    return kinds[0] if kinds else Kind.UNKNOWN


def _kind_of_status(class_name: str) -> Kind:
    """Werkzeug names its exceptions like the statuses: `ServiceUnavailable` is 503."""
    statuses = [status for status in HTTPStatus if status.phrase.replace(" ", "").lower() == class_name.lower()]
    if not statuses:
        return Kind.UNKNOWN
    may_pass = is_transient(statuses[0]) or statuses[0] in AWAY_STATUSES
    return Kind.SERVER if may_pass else Kind.CALLER
