"""Odoo's JSON-RPC: one POST for each call, and one login for many calls."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
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
from aigen_bridge.clients.outbound import Call, outbound
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError

PATH = "/jsonrpc"
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
"""Characters of a key that is masked in errors. A shorter one would be found in ordinary words."""


@dataclass(frozen=True, slots=True)
class _Session:
    """A login: the user's id, and the context in which that user's calls run."""

    uid: int
    context: dict[str, Any]


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

    `timeout` is in seconds and covers the wait for a turn, the login and the call together. For calls that write it
    should be above 30, because Odoo itself repeats conflicting writes. Each call opens its own connection: Odoo closes
    it anyway.
    """

    def __init__(self, url: str, *, database: str, login: str, api_key: str, timeout: float, concurrency: int) -> None:
        self._url = _endpoint(url)
        self._credentials = (database, login, api_key)
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=min(timeout / 2, CONNECT_SECONDS)),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=0),
            verify=_trust(),
        )
        self._numbers = itertools.count(1)
        self._session: _Session | None = None
        self._login_lock = asyncio.Lock()
        self._login_pause = _LoginPause()

    async def call(self, model: str, method: str, arguments: Sequence[Any]) -> Any:
        """Calls a method of a model, after a login if there is no session, or if Odoo denies the session access."""
        with outbound(ODOO.name, "POST", self._url) as record:
            async with self._answering():
                session = await self._logged_in(record)
                try:
                    return await self._execute(session, model, method, arguments, record)
                except StepError as error:
                    if error.code not in SESSION_ENDED:
                        raise
                session = await self._logged_in(record, instead_of=session)
                return await self._execute(session, model, method, arguments, record)

    async def version(self) -> str:
        """Asks for the server's version, such as `18.0`, without a login."""
        async with self._answering():
            answer = await self._post("common", "version", [])
        if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
            raise PermanentError("odoo_answer_unexpected", "The answer has no version in it, so it is not Odoo's.")
        return str(answer["server_version"])

    async def login(self) -> None:
        """Logs in, unless there is a session."""
        async with self._answering():
            await self._logged_in()

    def close(self) -> None:
        """Does nothing: no connection outlives its call."""

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Limits the time of what is inside, translates missing answers, and keeps the key out of errors."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (httpx.HTTPError, TimeoutError) as error:
            raise unanswered(error) from error
        except StepError as error:
            error.detail = self._masked(error.detail)
            error.args = (f"{error.code}: {error.detail}",)
            raise

    def _masked(self, text: str) -> str:
        """Hides the key in what an answer quotes, such as that of a program that repeats what it was sent."""
        key = self._credentials[2]
        return text.replace(key, "***") if len(key) >= KEY_MIN else text

    async def _logged_in(self, record: Call | None = None, *, instead_of: _Session | None = None) -> _Session:
        """The session, but not `instead_of`. A login is expensive for Odoo, so all calls share one."""
        async with self._login_lock:
            if self._session is None or self._session is instead_of:
                self._session = None
                self._session = await self._log_in(record)
            return self._session

    async def _log_in(self, record: Call | None) -> _Session:
        database, login, api_key = self._credentials
        self._login_pause.check()
        try:
            uid = await self._post("common", "login", [database, login, api_key], record)
        except StepError as error:
            if error.code == "odoo_accessdenied":
                raise self._login_refused() from error
            if error.code == "odoo_login_cooldown":
                self._login_pause.refused()
            raise
        if uid in (None, False):
            raise self._login_refused()
        if not isinstance(uid, int) or isinstance(uid, bool):
            detail = f"Odoo answered the login with {described(uid)} instead of a user. Read Odoo's log."
            raise TransientError("odoo_answer_unreadable", detail, http_status=httpx.codes.OK, tries=BUG_TRIES)
        self._login_pause.accepted()
        context = await self._post("object", "execute", [database, uid, api_key, "res.users", "context_get"], record)
        return _Session(uid, context if isinstance(context, dict) else {})

    def _login_refused(self) -> StepError:
        pause = self._login_pause.refused()
        detail = (
            "Odoo refused the login. Check AIGEN_ODOO__LOGIN and AIGEN_ODOO__API_KEY, whether the key has expired, and "
            "whether Odoo's log says that logins from this address are ignored for a while."
        )
        if self._login_pause.was_accepted:
            return TransientError("odoo_login_refused", detail, retry_after=pause, tries=LOGIN_TRIES)
        return PermanentError("odoo_login_refused", detail)

    async def _execute(self, session: _Session, model: str, method: str, arguments: Sequence[Any], record: Call) -> Any:
        database, _, api_key = self._credentials
        named = {"context": session.context | {"uid": session.uid}}
        args = [database, session.uid, api_key, model, method, list(arguments), named]
        return await self._post("object", "execute_kw", args, record)

    async def _post(self, service: str, method: str, args: Sequence[Any], record: Call | None = None) -> Any:
        number = next(self._numbers)
        params = {"service": service, "method": method, "args": args}
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": params, "id": number}).encode()
        return await _connecting()(self._exchange, body, number, record or Call())

    async def _exchange(self, body: bytes, number: int, record: Call) -> Any:
        record.status, record.bytes_out = None, record.bytes_out + len(body)
        headers = HEADERS | record.headers
        async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
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
        return result_of(response, answer, number)


def _endpoint(url: str) -> str:
    """The URL of `/jsonrpc` on the host of `url`, which is the only place where Odoo has it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], PATH, "", ""))


def _trust() -> Any:
    """Trusts the authorities of this machine, as other programs on it do, and those of the other clients."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def _connecting() -> AsyncRetrying:
    return AsyncRetrying(
        retry=retry_if_exception_type(httpx.ConnectError),
        stop=stop_after_attempt(QUICK_TRIES),
        wait=wait_fixed(QUICK_WAIT),
        reraise=True,
    )
