"""Odoo's JSON-RPC. odoorpc is synchronous, so each call runs in a thread of a small pool."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import (
    BaseHandler,
    HTTPCookieProcessor,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

import odoorpc
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from aigen_bridge.clients.odoo_errors import translate
from aigen_bridge.clients.outbound import Call, outbound
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import PermanentError
from aigen_bridge.network import proxy_for, tls_context

PATH = "/jsonrpc"
VERSION = "18.0"
"""Given to odoorpc, which otherwise asks the server for it when a session is opened."""
QUICK_TRIES, QUICK_WAIT = 2, 0.1
"""A refused connection carried nothing, so one quick second try is safe (wait in seconds)."""

T = TypeVar("T")


class OdooJsonRpc:
    """An `OdooTransport` over `/jsonrpc`, with at most `concurrency` calls at once.

    `timeout` is in seconds and covers the wait for a free thread, the login and the call together. For calls that
    write it should be above 30, because Odoo itself repeats conflicting writes.
    """

    def __init__(self, url: str, *, database: str, login: str, api_key: str, timeout: float, concurrency: int) -> None:
        self._url = urlsplit(url)
        self._credentials = (database, login, api_key)
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="odoo")
        self._session: odoorpc.ODOO | None = None
        self._login_lock = Lock()

    async def call(self, model: str, method: str, arguments: Sequence[Any]) -> Any:
        """Calls a method of a model, after a login if there is no session."""
        with outbound(ODOO.name, "POST", self._url.geturl() + PATH) as call:
            return await self._in_thread(
                lambda: self._logged_in().execute_kw(model, method, list(arguments), {}), record=call
            )

    async def version(self) -> str:
        """Asks for the server's version, such as `18.0`, without a login."""
        question = {"service": "common", "method": "version", "args": []}
        answer = await self._in_thread(lambda: self._open().json(PATH, question).get("result"))
        if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
            raise PermanentError("odoo_answer_unexpected", "The answer has no version in it, so it is not Odoo's.")
        return str(answer["server_version"])

    async def login(self) -> None:
        """Logs in, unless there is a session."""
        await self._in_thread(self._logged_in)

    def close(self) -> None:
        """Starts no more calls. Running calls end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, function: Callable[[], T], *, record: Call | None = None) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._threads, self._run, function, record)
        except TimeoutError as error:
            raise translate(error) from error

    def _run(self, function: Callable[[], T], record: Call | None) -> T:
        _recorded.set(record)
        try:
            return _twice_if_refused()(function)
        except Exception as error:
            self._session = None  # log in again after any error
            raise translate(error) from error

    def _logged_in(self) -> odoorpc.ODOO:
        """The session. A login is expensive for Odoo, so all threads share one."""
        with self._login_lock:
            if self._session is None:
                session = self._open()
                session.login(*self._credentials)
                self._session = session
            return self._session

    def _open(self) -> odoorpc.ODOO:
        tls = self._url.scheme == "https"
        return odoorpc.ODOO(
            self._url.hostname,
            protocol="jsonrpc+ssl" if tls else "jsonrpc",
            port=self._url.port or (443 if tls else 80),
            timeout=self._timeout,
            version=VERSION,
            opener=_opener(self._url.geturl()),
        )


def _twice_if_refused() -> Retrying:
    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(getattr(error, "reason", None), ConnectionRefusedError)),
        stop=stop_after_attempt(QUICK_TRIES),
        wait=wait_fixed(QUICK_WAIT),
        reraise=True,
    )


def _opener(url: str) -> OpenerDirector:
    """Returns an opener with cookies, as odoorpc's own has, and with our way out and recorder."""
    proxy = proxy_for(url)
    proxies = ProxyHandler({urlsplit(url).scheme: proxy} if proxy else {})
    return build_opener(proxies, HTTPSHandler(context=tls_context()), HTTPCookieProcessor(CookieJar()), _Recorder())


_recorded: ContextVar[Call | None] = ContextVar("odoo_call", default=None)
"""The call that this thread makes. Threads share the session, so the session's recorder finds it here."""


class _Recorder(BaseHandler):
    """Records sizes and status of each HTTP exchange, which odoorpc hides, and sends the call's trace headers."""

    handler_order = 0  # before the handlers that raise errors, to see refusals as well

    def http_request(self, request: Request) -> Request:
        call = _recorded.get()
        if call is not None and isinstance(request.data, bytes):
            call.bytes_out += len(request.data)
            for name, value in call.headers.items():
                request.add_header(name, value)
        return request

    def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 - urllib's shape
        call = _recorded.get()
        if call is not None:
            call.status = response.status
            length = response.headers.get("Content-Length") or ""
            call.bytes_in += int(length) if length.isdecimal() else 0
        return response

    https_request, https_response = http_request, http_response
