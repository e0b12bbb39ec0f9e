"""Odoo's JSON-2, which it has since 19: a POST for each call, the key in a header, real HTTP statuses."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx

from aigen_bridge.clients.http_errors import named, on_one_line
from aigen_bridge.clients.odoo_errors import fault, refused, result_of, unreadable, version_in
from aigen_bridge.clients.odoo_exchange import answer_of, answering, connecting, endpoint, phases, posting
from aigen_bridge.clients.odoo_login import LoginPause
from aigen_bridge.clients.outbound import Call, outbound, way_out
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import StepError, TransientError

PATH, VERSION_PATH = "/json/2", "/web/webclient/version_info"
SINCE = 19
"""The first version of Odoo that has `/json/2`."""
QUESTION, NUMBER = b'{"jsonrpc": "2.0", "method": "call", "params": {}, "id": 1}', 1
"""The question for the version, in JSON-RPC, as all versions understand it."""
IDLE_SECONDS = 2.0
"""How long an idle connection is kept. Shorter than any usual server keeps it, so that no call meets its end."""
FAULT_SECONDS = 5.0
"""How long to wait for the body of an error. A fault in it says more than the status: 409 is a conflict that passes."""
NO_DATABASE = b"No database is selected"
"""In the page (404) by which Odoo answers a call for a database that it does not have or cannot reach."""
LOGIN_PAGE = "/web/login"
"""Where Odoo 18 sends a browser that asks for `/json/…`."""
FAULT_KEYS = frozenset({"name", "message", "arguments"})
"""Keys of every fault. An error without them is that of another program, such as a proxy."""
JSONRPC_NAMES = (
    ("werkzeug.exceptions.NotFound", re.compile("^the model .* does not exist"), "odoo.exceptions.UserError"),
    ("werkzeug.exceptions.NotFound", re.compile("^The method .* does not exist"), "builtins.AttributeError"),
    ("werkzeug.exceptions.UnprocessableEntity", re.compile(""), "builtins.TypeError"),
)
"""Faults that have another class than over JSON-RPC: name, message, and the name there (measured on 19.0)."""


class OdooJson2:
    """An `OdooTransport` over `/json/2`, with at most `concurrency` calls at once.

    `timeout` is in seconds and covers the wait for a free place and the call together. Connections are kept open as far
    as the server allows: a proxy does, Odoo's own server closes each.
    """

    protocol = "JSON-2"

    def __init__(
        self,
        url: str,
        *,
        database: str,
        api_key: str,
        timeout: float,
        concurrency: int,
        destination: str = ODOO.name,
    ) -> None:
        self._url, self._version_url = endpoint(url, PATH), endpoint(url, VERSION_PATH)
        self._destination = destination
        self._key = api_key
        # Odoo reads headers as Latin-1. Without this one, it answers a question for the version with a session.
        self._database = {"X-Odoo-Database": _latin_1(database)}
        self._headers = self._database | {"Authorization": f"bearer {_latin_1(api_key)}"}
        self._timeout = timeout
        self._places = asyncio.Semaphore(concurrency)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # a session must not decide the database
        limits = httpx.Limits(keepalive_expiry=IDLE_SECONDS)
        self._open = partial(
            httpx.AsyncClient, timeout=phases(timeout), limits=limits, cookies=no_cookies, **way_out(url)
        )
        self._free: list[httpx.AsyncClient] = []
        self._login_pause = LoginPause()

    async def call(self, model: str, method: str, arguments: Mapping[str, Any]) -> Any:
        """Calls a method of a model."""
        url = f"{self._url}/{model}/{method}"
        with outbound(self._destination, "POST", url) as record:
            async with answering(self._timeout, url), self._places:
                self._login_pause.check()
                result: Any = await connecting()(self._post, url, json.dumps(dict(arguments)).encode(), record)
        self._login_pause.accepted()
        return result

    async def version(self, seconds: float | None = None) -> str:
        """Asks for the server's version, such as `19.0-20251227`, without a key. Odoo 18 answers, too."""
        async with answering(seconds or self._timeout, self._version_url):
            return await connecting()(self._ask_version)

    async def login(self) -> None:
        """Makes sure that Odoo accepts the key."""
        await self.call("res.users", "context_get", {})

    async def aclose(self) -> None:
        """Closes the connections that no call uses."""
        for http in self._free:
            await http.aclose()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpx.AsyncClient]:
        """Yields a client that no other call uses, with the connection of an earlier call if it is still open.

        After an exchange that failed or was cancelled, it is closed: a pool may never close that connection
        (httpcore 1.0).
        """
        http = self._free.pop() if self._free else self._open()
        try:
            yield http
        except BaseException:
            await http.aclose()
            raise
        self._free.append(http)

    async def _post(self, url: str, body: bytes, record: Call) -> Any:
        async with self._connection() as http, posting(http, url, body, record, self._headers) as response:
            if response.is_success:
                return _result_of(response, await answer_of(response, record, self._key))
            answer = await self._answer_of_error(response, record)
        if response.status_code == HTTPStatus.UNAUTHORIZED and _fault_in(answer):
            raise self._login_pause.error(http_status=response.status_code)
        error = _error_of(response, answer, url)
        if error.code == "odoo_login_cooldown":
            self._login_pause.refused()
        raise error

    async def _answer_of_error(self, response: httpx.Response, record: Call) -> bytes:
        """Returns the body of a non-2xx response; empty when it cannot be read, so that the status decides."""
        with contextlib.suppress(httpx.HTTPError, TimeoutError, TransientError):
            async with asyncio.timeout(FAULT_SECONDS):
                return await answer_of(response, record, self._key)
        return b""

    async def _ask_version(self) -> str:
        record = Call()
        async with (
            self._connection() as http,
            posting(http, self._version_url, QUESTION, record, self._database) as response,
        ):
            if not response.is_success:
                raise refused(response, self._version_url)
            return version_in(result_of(response, await answer_of(response, record, self._key), NUMBER))


def _result_of(response: httpx.Response, body: bytes) -> Any:
    """Returns the result of a call, which is the whole body. What is not JSON is a proxy's."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        shown = on_one_line(body)
        raise unreadable(response, f"it is not JSON: {shown}" if shown else "it is empty") from None


def _error_of(response: httpx.Response, body: bytes, url: str) -> StepError:
    """Returns the error for a non-2xx response: Odoo's fault, or the status of another program."""
    status = response.status_code
    if status == HTTPStatus.NOT_FOUND and NO_DATABASE in body:
        detail = (
            "Odoo has no such database, or cannot reach it. Check AIGEN_ODOO__DATABASE (or that of this Odoo in "
            "AIGEN_ODOOS), Odoo's option --db-filter, and whether its own PostgreSQL runs."
        )
        return TransientError("odoo_operationalerror", detail, http_status=status, away=True)
    if response.is_redirect and urlsplit(response.headers.get("location", "")).path == LOGIN_PAGE:
        detail = (
            f"Odoo answered {named(response)} and points to its login page. Before {SINCE}, it has no JSON-2: set "
            "AIGEN_ODOO__TRANSPORT (or transport of this Odoo in AIGEN_ODOOS) to auto, if it is not."
        )
        return TransientError(f"odoo_http_{status}", detail, http_status=status, away=True)
    data = _fault_in(body)
    if data is None:
        return refused(response, url)
    return fault({**data, "name": _name_in_jsonrpc(data["name"], str(data["message"]))}, status)


def _fault_in(body: bytes) -> dict[str, Any] | None:
    """Returns Odoo's fault, or None if the body is another program's."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_fault = isinstance(data, dict) and data.keys() >= FAULT_KEYS and isinstance(data["name"], str) and data["name"]
    return data if is_fault else None


def _name_in_jsonrpc(name: str, message: str) -> str:
    return next((other for known, text, other in JSONRPC_NAMES if name == known and text.search(message)), name)


def _latin_1(text: str) -> str:
    """Replaces the characters that no header can have. Odoo then has no such database or key."""
    return text.encode("latin-1", "replace").decode("latin-1")
