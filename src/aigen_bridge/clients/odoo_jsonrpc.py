"""Odoo's JSON-RPC. odoorpc is synchronous: it builds the calls in threads, and the event loop exchanges them."""

import asyncio
import io
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.request import Request

import httpx
import odoorpc

from aigen_bridge.clients.odoo_errors import BUG_TRIES, SESSION_ENDED, described, refused, result_of, version_in
from aigen_bridge.clients.odoo_exchange import answer_of, answering, connecting, endpoint, phases, posting
from aigen_bridge.clients.odoo_login import LoginPause
from aigen_bridge.clients.outbound import Call, outbound, way_out
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import StepError, TransientError

PATH = "/jsonrpc"
VERSION = "18.0"
"""Given to odoorpc, which otherwise asks the server for it when a session is opened."""
CALL_NUMBER = re.compile(rb'"id": ([0-9]+)}$')
"""The end of a call as odoorpc writes it."""

T = TypeVar("T")


@dataclass(slots=True)
class _Turn:
    """One use of odoorpc in a thread, the record of its exchanges, and the exchange that is under way."""

    record: Call
    exchange: Future[Any] | None = None
    has_ended: bool = False

    def result(self, exchange: Future[T]) -> T:
        """Waits for an exchange, unless the turn has ended meanwhile."""
        self.exchange = exchange
        if self.has_ended:
            exchange.cancel()
        return exchange.result()

    def end(self) -> None:
        """Cancels the exchange that is under way, and every later one."""
        self.has_ended = True
        if self.exchange is not None:
            self.exchange.cancel()


_turn: ContextVar[_Turn] = ContextVar("odoo_turn")
"""The turn of this thread. Threads share a session, so its opener finds the turn here."""


class _Opener:
    """Takes the place of odoorpc's opener, which follows redirects, and reads anything of any length."""

    def __init__(
        self, exchange: Callable[[Any, Call], Coroutine[Any, Any, Any]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._exchange = exchange
        self._loop = loop

    def open(self, request: Request, timeout: float | None = None) -> io.BytesIO:  # noqa: ARG002 - urllib's signature
        """Carries a call on the event loop. Returns its result as the answer that odoorpc expects."""
        turn = _turn.get()
        exchange = asyncio.run_coroutine_threadsafe(self._exchange(request.data, turn.record), self._loop)
        return io.BytesIO(json.dumps({"result": turn.result(exchange)}).encode())


class OdooJsonRpc:
    """An `OdooTransport` over `/jsonrpc`, with at most `concurrency` calls at once.

    `timeout` is in seconds and covers the wait for a free thread, the login and the call together. For calls that
    write it should be above 30, because Odoo itself repeats conflicting writes. Each call opens its own connection:
    Odoo closes it anyway.
    """

    protocol = "JSON-RPC"

    def __init__(
        self,
        url: str,
        *,
        database: str,
        login: str,
        api_key: str,
        timeout: float,
        concurrency: int,
        destination: str = ODOO.name,
    ) -> None:
        self._destination = destination
        self._url = endpoint(url, PATH)
        self._credentials = (database, login, api_key)
        self._timeout = timeout
        self._connection = partial(httpx.AsyncClient, timeout=phases(timeout), **way_out(url))
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="odoo")
        self._session: odoorpc.ODOO | None = None
        self._login_lock = asyncio.Lock()
        self._login_pause = LoginPause()

    async def call(self, model: str, method: str, arguments: Mapping[str, Any]) -> Any:
        """Calls a method of a model, after a login if there is no session, or if Odoo denies the session access."""
        call: tuple[Any, ...] = (model, method, [], dict(arguments))
        with outbound(self._destination, "POST", self._url) as record:
            async with answering(self._timeout, self._url):
                session = await self._logged_in(record)
                try:
                    return await self._in_thread(record, session.execute_kw, *call)
                except StepError as error:
                    if error.code not in SESSION_ENDED:
                        raise
                session = await self._logged_in(record, instead_of=session)
                return await self._in_thread(record, session.execute_kw, *call)

    async def version(self) -> str:
        """Asks for the server's version, such as `18.0`, without a login."""
        question = {"service": "common", "method": "version", "args": []}
        async with answering(self._timeout, self._url):
            return version_in((await self._in_thread(Call(), self._open().json, PATH, question))["result"])

    async def login(self) -> None:
        """Logs in, unless there is a session."""
        async with answering(self._timeout, self._url):
            await self._logged_in(Call())

    async def aclose(self) -> None:
        """Starts no more calls. Running calls end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, record: Call, function: Callable[..., T], *args: Any) -> T:
        """Runs a function that uses a session of odoorpc. When it is cancelled, so is the exchange under way."""
        turn, context = _Turn(record), copy_context()
        context.run(_turn.set, turn)
        try:
            run = partial(context.run, function, *args)
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        finally:
            turn.end()

    def _open(self) -> odoorpc.ODOO:
        """Returns a session that is not logged in. Its host is not used: all calls go to `AIGEN_ODOO__URL`."""
        return odoorpc.ODOO(version=VERSION, opener=_Opener(self._exchange, asyncio.get_running_loop()))

    async def _logged_in(self, record: Call, *, instead_of: odoorpc.ODOO | None = None) -> odoorpc.ODOO:
        """The session, but not `instead_of`. A login is expensive for Odoo, so all calls share one."""
        async with self._login_lock:
            if self._session is None or self._session is instead_of:
                self._session = None
                self._session = await self._log_in(record)
            return self._session

    async def _log_in(self, record: Call) -> odoorpc.ODOO:
        self._login_pause.check()
        session = self._open()
        try:
            await self._in_thread(record, session.login, *self._credentials)
        except odoorpc.error.RPCError as error:  # the answer was no user
            raise self._login_pause.error() from error
        except StepError as error:
            if error.code == "odoo_accessdenied":
                raise self._login_pause.error() from error
            if error.code == "odoo_login_cooldown":
                self._login_pause.refused()
            raise
        except TypeError as error:  # the user's context was no object
            raise _not_a_user("another context than an object") from error
        if type(session.env.uid) is not int:  # a bool is an int, too
            raise _not_a_user(described(session.env.uid))
        self._login_pause.accepted()
        return session

    async def _exchange(self, body: bytes, record: Call) -> Any:
        """Sends a call of JSON-RPC and returns its result."""
        return await connecting()(self._exchange_once, body, record)

    async def _exchange_once(self, body: bytes, record: Call) -> Any:
        # A client for each exchange: a pool with a limit loses places to exchanges that are cancelled (httpcore 1.0).
        async with self._connection() as http, posting(http, self._url, body, record) as response:
            if not response.is_success:
                raise refused(response, self._url)
            answer = await answer_of(response, record, self._credentials[2])
        number = CALL_NUMBER.search(body[-32:])
        return result_of(response, answer, int(number[1]) if number else None)


def _not_a_user(seen: str) -> TransientError:
    detail = f"Odoo answered the login with {seen} instead of a user. Read Odoo's log."
    return TransientError("odoo_answer_unreadable", detail, http_status=httpx.codes.OK, tries=BUG_TRIES)
