"""Asks Odoo whether it would take a result, without giving it one."""

import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from aigen_bridge.clients.odoo import METHOD, MODEL, OdooClient
from aigen_bridge.domain.errors import PermanentError

SECONDS = 8.0
MODEL_METHOD = f"{MODEL}.{METHOD}"


class OdooProbe(OdooClient):
    """The way of `OdooClient`, with questions. Each raises `TransientError` or `PermanentError`."""

    def __init__(self, url: str, *, database: str, login: str, api_key: str, timeout: float = SECONDS) -> None:
        super().__init__(url, database=database, login=login, api_key=api_key, timeout=timeout, concurrency=1)

    async def version(self) -> tuple[str, timedelta]:
        """Odoo's version, such as `18.0`, and how long the answer took. Needs no login."""
        began = time.monotonic()
        answer = await self._in_thread(self._version)
        if not isinstance(answer, dict) or not isinstance(answer.get("server_version"), str):
            raise PermanentError("odoo_answer_unexpected", "What answers is not Odoo: it does not tell its version.")
        return answer["server_version"], timedelta(seconds=time.monotonic() - began)

    def _version(self) -> Any:
        return self._open().json("/jsonrpc", {"service": "common", "method": "version", "args": []}).get("result")

    async def login(self) -> None:
        """Log in, as every delivery does."""
        await self._in_thread(self._logged_in)

    async def offer_nothing(self) -> None:
        """Call the addon's method with a result that can apply to nothing, twice over: no request has its id, and
        every record knows a newer version than 0. So the error that comes back tells who refused it.

        An unknown model is `odoo_model_missing`, because Odoo's own class for it is that of any user error.
        """
        request_id = str(uuid4())
        nothing = {
            "requestId": request_id,
            "version": 0,
            "status": "failed",
            "errorCode": "doctor",
            "errorMessage": "-",
        }
        try:
            await self._in_thread(lambda: self._execute(METHOD, nothing))
        except PermanentError as error:
            if error.code == "odoo_usererror" and MODEL in error.detail and request_id not in error.detail:
                raise PermanentError("odoo_model_missing", error.detail) from error
            raise

    async def may_write(self) -> bool | None:
        """Whether the user may write the addon's records; None when this Odoo has no way to ask (before 18)."""
        try:
            return bool(await self._in_thread(lambda: self._execute("has_access", [], "write")))
        except PermanentError:
            return None
