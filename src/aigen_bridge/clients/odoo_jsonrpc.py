"""Odoo's JSON-RPC. odoorpc is synchronous: it builds the calls in threads, and the event loop exchanges them."""

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request

import httpx
import odoorpc
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from aigen_bridge.clients.http_errors import UNCOMPRESSED, beginning
from aigen_bridge.clients.odoo_errors import (
    BUG_TRIES,
    COOLDOWN,
    SESSION_ENDED,
    described,
    refused,
    result_of,
    unanswered,
    unreadable,
)
from aigen_bridge.clients.outbound import Call, by_proxy, outbound, way_out
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

PATH = "/jsonrpc"
VERSION = "18.0"
"""Given to odoorpc, which otherwise asks the server for it when a session is opened."""
CALL_NUMBER = re.compile(rb'"id": ([0-9]+)}$')
"""The end of a call as odoorpc writes it."""
HEADERS = {"Content-Type": "application/json", **UNCOMPRESSED}
ANSWER_MAX = 4 * 2**20
"""Bytes of an answer. A result has hundreds; a fault has more, because of its traceback."""
CONNECT_SECONDS = 5.0
"""A host that does not accept a connection within this time is away; a busy Odoo still accepts."""
QUICK_TRIES, QUICK_WAIT = 2, 0.1
"""A refused connection carried nothing, so one quick second try is safe (wait in seconds)."""
LOGIN_TRIES = 4
"""Tries of a call whose login is refused, although Odoo accepted the same key before: the key was revoked, or logins
are ignored for a while, which looks the same."""
LOGIN_PAUSE_MAX = timedelta(minutes=15)
KEY_MIN = 8
"""Characters of a key that is masked in answers. A shorter one would be found in ordinary words."""


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


@dataclass(slots=True)
class _LoginPause:
    """The pause between refused logins, which doubles with each of them.

    A refused login costs Odoo more than a call does. Where failed logins lock out an address, it may be that of a
    proxy, and so everybody's.
    """

    refusals: int = 0
    was_accepted: bool = False
    _until: float = field(default=0.0, repr=False)

    def check(self) -> None:
        """Raises `TransientError` while it lasts."""
        left = self._until - time.monotonic()
        if left > 0:
            detail = (
                f"Odoo refused the login. The next one is tried in {left:.0f} s, so that Odoo does not lock it out."
            )
            raise TransientError("odoo_login_refused", detail, retry_after=timedelta(seconds=left))

    def accepted(self) -> None:
        """Ends it."""
        self.refusals, self.was_accepted, self._until = 0, True, 0.0

    def refused(self) -> timedelta:
        """Begins it again, and returns how long it is."""
        length = min(COOLDOWN * int(2 ** min(self.refusals, 10)), LOGIN_PAUSE_MAX)
        self.refusals, self._until = self.refusals + 1, time.monotonic() + length.total_seconds()
        return length


class OdooJsonRpc:
    """An `OdooTransport` over `/jsonrpc`, with at most `concurrency` calls at once.

    `timeout` is in seconds and covers the wait for a free thread, the login and the call together. For calls that
    write it should be above 30, because Odoo itself repeats conflicting writes. Each call opens its own connection:
    Odoo closes it anyway.
    """

    def __init__(self, url: str, *, database: str, login: str, api_key: str, timeout: float, concurrency: int) -> None:
        self._url = _endpoint(url)
        self._credentials = (database, login, api_key)
        self._timeout = timeout
        phases = httpx.Timeout(None, connect=min(timeout / 2, CONNECT_SECONDS))
        self._connection = partial(httpx.AsyncClient, timeout=phases, **way_out(url))
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="odoo")
        self._session: odoorpc.ODOO | None = None
        self._login_lock = asyncio.Lock()
        self._login_pause = _LoginPause()

    async def call(self, model: str, method: str, arguments: Sequence[Any]) -> Any:
        """Calls a method of a model, after a login if there is no session, or if Odoo denies the session access."""
        with outbound(ODOO.name, "POST", self._url) as record:
            async with self._answering():
                session = await self._logged_in(record)
                named: dict[str, Any] = {}
                try:
                    return await self._in_thread(record, session.execute_kw, model, method, list(arguments), named)
                except StepError as error:
                    if error.code not in SESSION_ENDED:
                        raise
                session = await self._logged_in(record, instead_of=session)
                return await self._in_thread(record, session.execute_kw, model, method, list(arguments), named)

    async def version(self) -> str:
        """Asks for the server's version, such as `18.0`, without a login."""
        question = {"service": "common", "method": "version", "args": []}
        async with self._answering():
            answer = (await self._in_thread(Call(), self._open().json, PATH, question))["result"]
        if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
            raise PermanentError("odoo_answer_unexpected", "The answer has no version in it, so it is not Odoo's.")
        return str(answer["server_version"])

    async def login(self) -> None:
        """Logs in, unless there is a session."""
        async with self._answering():
            await self._logged_in(Call())

    def close(self) -> None:
        """Starts no more calls. Running calls end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Limits the time of what is inside, and translates missing answers."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (httpx.HTTPError, TimeoutError) as error:
            raise unanswered(error, by_proxy(self._url)) from error

    def _masked(self, answer: bytes) -> bytes:
        """Hides the key in an answer, because errors quote answers, and some programs repeat what they were sent.

        Errors quote the beginning only, so a key that is masked in their text may have been cut before.
        """
        key = self._credentials[2]
        for form in (key, json.dumps(key)[1:-1]) if len(key) >= KEY_MIN else ():
            answer = answer.replace(form.encode(errors="replace"), b"***")
        return answer

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
            raise self._login_refused() from error
        except StepError as error:
            if error.code == "odoo_accessdenied":
                raise self._login_refused() from error
            if error.code == "odoo_login_cooldown":
                self._login_pause.refused()
            raise
        except TypeError as error:  # the user's context was no object
            raise _not_a_user("another context than an object") from error
        if type(session.env.uid) is not int:  # a bool is an int, too
            raise _not_a_user(described(session.env.uid))
        self._login_pause.accepted()
        return session

    def _login_refused(self) -> StepError:
        pause = self._login_pause.refused()
        detail = (
            "Odoo refused the login. Check AIGEN_ODOO__LOGIN and AIGEN_ODOO__API_KEY, whether the key has expired, and "
            "whether Odoo's log says that logins from this address are ignored for a while."
        )
        if self._login_pause.was_accepted:
            return TransientError("odoo_login_refused", detail, retry_after=pause, tries=LOGIN_TRIES)
        return PermanentError("odoo_login_refused", detail)

    async def _exchange(self, body: bytes, record: Call) -> Any:
        """Sends a call of JSON-RPC and returns its result."""
        return await _connecting()(self._exchange_once, body, record)

    async def _exchange_once(self, body: bytes, record: Call) -> Any:
        record.status, record.bytes_out = None, record.bytes_out + len(body)
        headers = HEADERS | record.headers
        # A client for each exchange: a pool with a limit loses places to exchanges that are cancelled (httpcore 1.0).
        async with (
            self._connection() as http,
            http.stream("POST", self._url, content=body, headers=headers) as response,
        ):
            record.status = response.status_code
            if not response.is_success:
                raise refused(response, self._url)
            try:
                answer = await beginning(response, ANSWER_MAX)
            except httpx.DecodingError as error:
                raise unreadable(response, f"it is not compressed as announced ({error})") from error
            record.bytes_in += response.num_bytes_downloaded
        if len(answer) >= ANSWER_MAX:
            raise unreadable(response, f"it is longer than {ANSWER_MAX} bytes")
        number = CALL_NUMBER.search(body[-32:])
        return result_of(response, self._masked(answer), int(number[1]) if number else None)


def _not_a_user(seen: str) -> TransientError:
    detail = f"Odoo answered the login with {seen} instead of a user. Read Odoo's log."
    return TransientError("odoo_answer_unreadable", detail, http_status=httpx.codes.OK, tries=BUG_TRIES)


def _endpoint(url: str) -> str:
    """The URL of `/jsonrpc` on the host of `url`, which is the only place where Odoo has it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], PATH, "", ""))


def _connecting() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(httpx.ConnectError),
        stop=stop_after_attempt(QUICK_TRIES),
        wait=wait_fixed(QUICK_WAIT),
        reraise=True,
    )
