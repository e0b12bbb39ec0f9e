"""Odoo 18 over JSON-RPC. odoorpc is synchronous, so each call runs in a thread of our own small pool."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

import odoorpc
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from aigen_bridge.clients import odoo_wire
from aigen_bridge.clients.odoo_errors import translate
from aigen_bridge.clients.outbound import Call, outbound
from aigen_bridge.domain.destination import ODOO
from aigen_bridge.domain.errors import PermanentError

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
VERSION = "18.0"
"""Given to odoorpc, so that opening it calls nobody."""
QUICK_TRIES, QUICK_WAIT = 2, 0.1
"""A refused connection carried nothing, so one quick second try is safe (wait in seconds)."""

T = TypeVar("T")


class OdooClient:
    """Calls the addon's one method. `timeout` in seconds; above 30, because Odoo repeats conflicts itself."""

    def __init__(self, url: str, *, database: str, login: str, api_key: str, timeout: float, concurrency: int) -> None:
        self._url = urlsplit(url)
        self._timeout = timeout
        self._credentials = (database, login, api_key)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="odoo")
        self._session: odoorpc.ODOO | None = None
        self._login_lock = Lock()

    async def apply_result(self, payload: Mapping[str, Any]) -> None:
        """Tell the addon how a request stands. Raises `TransientError` or `PermanentError`."""
        with outbound(ODOO.name, "POST", f"{self._url.geturl()}/jsonrpc") as call:
            answer = await self._in_thread(lambda: self._watched(call, dict(payload)))
            if not isinstance(answer, dict) or not isinstance(answer.get("applied"), bool):
                raise PermanentError(
                    "odoo_answer_unexpected",
                    f"{MODEL}.{METHOD} gave no answer that we know: is the addon current?",
                )

    def _watched(self, call: Call, payload: dict[str, Any]) -> Any:
        odoo_wire.current.set(call)  # of this thread
        return self._execute(METHOD, payload)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """What `call` returns; its time counts for login and call together."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._threads, self._translated, call)
        except TimeoutError as error:
            raise translate(error) from error

    def _translated(self, call: Callable[[], T]) -> T:
        try:
            return self._connecting()(call)
        except Exception as error:
            self._session = None  # whatever it was: log in afresh next time
            raise translate(error) from error

    def _execute(self, method: str, *arguments: Any) -> Any:
        return self._logged_in().execute_kw(MODEL, method, list(arguments), {})

    def _logged_in(self) -> odoorpc.ODOO:
        """The session. A login costs Odoo much, so it is made once and kept."""
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
            opener=odoo_wire.watched_opener(),
        )

    @staticmethod
    def _connecting() -> Retrying:
        return Retrying(
            retry=retry_if_exception(_refused),
            stop=stop_after_attempt(QUICK_TRIES),
            wait=wait_fixed(QUICK_WAIT),
            reraise=True,
        )

    def close(self) -> None:
        """Start nothing more; calls still running end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _refused(error: BaseException) -> bool:
    return isinstance(getattr(error, "reason", None), ConnectionRefusedError)
