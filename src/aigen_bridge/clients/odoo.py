"""The protocol of the addon in Odoo, on any transport: delivers results, and probes whether Odoo would accept one."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol
from uuid import uuid4

from aigen_bridge.clients.odoo_errors import described
from aigen_bridge.domain.delivery import DATABASE_UUID, VERSION_MAX, OdooAnswer
from aigen_bridge.domain.errors import PermanentError, TransientError

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
LIMITS_METHOD = "bridge_limits"
MODEL_METHOD = f"{MODEL}.{METHOD}"
METHOD_MISSING = "odoo_attributeerror"
IMAGE_MAX = 32 * 2**20
"""Bytes. The largest image that an addon takes that has no `bridge_limits` yet."""


class OdooTransport(Protocol):
    """Calls methods of Odoo's models as the bridge's user.

    Each coroutine ends within the transport's timeout. It raises `TransientError` when another try may help (with
    `away` when Odoo was not reached), and `PermanentError` when a person has to act. The code of a fault is `odoo_`
    and the fault's class in lower case, such as `odoo_usererror`. An answer that is not Odoo's is
    `odoo_answer_unreadable`, and one that is not the addon's `odoo_answer_unexpected`. A call that failed may have
    taken effect.
    """

    @property
    def protocol(self) -> str:
        """The protocol in use, `JSON-RPC` or `JSON-2`. It may change when Odoo is upgraded."""

    async def call(self, model: str, method: str, arguments: Mapping[str, Any]) -> Any:
        """Calls `method` with `arguments` by name, after a login if one is needed; returns Odoo's answer."""

    async def version(self) -> str:
        """Odoo's version, such as `18.0`. Needs no login."""

    async def login(self) -> None:
        """Logs in as `call` does."""

    async def aclose(self) -> None:
        """Closes what is open. No call may begin afterwards."""


class OdooClient:
    """Delivers results to the addon."""

    def __init__(self, transport: OdooTransport) -> None:
        self._transport = transport

    async def apply_result(self, payload: Mapping[str, Any]) -> OdooAnswer:
        """Reports the state of a request. Idempotent by `(requestId, version)`; raises as `OdooTransport.call` does."""
        answer = await self._transport.call(MODEL, METHOD, {"payload": dict(payload)})
        return read_answer(_checked(answer))

    async def login(self) -> None:
        """Logs in, unless it is logged in. Raises as `OdooTransport.login` does."""
        await self._transport.login()

    async def aclose(self) -> None:
        """Closes the transport."""
        await self._transport.aclose()


def _checked(answer: Any) -> Mapping[str, Any]:
    """Returns an answer that says whether the result was applied. Raises `StepError` for any other.

    An object without it may be the JSON of a proxy: over JSON-2, nothing around the answer shows that it is Odoo's.
    """
    if isinstance(answer, dict) and isinstance(answer.get("applied"), bool):
        return answer
    seen = f"{MODEL_METHOD} returned {described(answer)} instead of whether the result was applied."
    if isinstance(answer, dict) and "applied" not in answer:
        detail = (
            f"{seen} Check what answers at the URL of this Odoo (AIGEN_ODOO__URL, or in AIGEN_ODOOS), such as a proxy "
            "or a maintenance page, and that no other module overrides this method."
        )
        raise TransientError("odoo_answer_unreadable", detail, http_status=HTTPStatus.OK, away=True)
    advice = (
        "Check that the addon aigen_image is up to date and that no other module overrides its method, then replay the "
        "delivery."
    )
    raise PermanentError("odoo_answer_unexpected", f"{seen} {advice}", http_status=HTTPStatus.OK)


def read_answer(answer: Mapping[str, Any]) -> OdooAnswer:
    """Reads the addon's answer. The state of its record counts only as a whole; an older addon does not send it."""
    applied, has_picture = answer["applied"], bool(answer.get("attachmentId"))
    version, status, uuid = answer.get("version"), answer.get("status"), _uuid(answer)
    if type(version) is not int or not 0 <= version < VERSION_MAX or not isinstance(status, str):
        return OdooAnswer(applied, has_picture, database_uuid=uuid)
    return OdooAnswer(applied, has_picture, version, status, answer.get("errorCode") or None, uuid)


def _uuid(answer: Mapping[str, Any]) -> str | None:
    """Returns `databaseUuid` in lower case; None if it is missing, or nothing that could be stored or shown."""
    uuid = answer.get("databaseUuid")
    return uuid.lower() if isinstance(uuid, str) and re.fullmatch(DATABASE_UUID, uuid) else None


@dataclass(frozen=True, slots=True)
class Limits:
    """The addon's limits: the largest image in bytes, and the uuid of its database in lower case."""

    image_bytes: int
    database_uuid: str | None


class OdooProbe:
    """Asks Odoo whether it would accept a result, without sending one. Raises as `OdooTransport` does."""

    def __init__(self, transport: OdooTransport) -> None:
        self._transport = transport

    @property
    def protocol(self) -> str:
        """How Odoo was called the last time: `JSON-RPC` or `JSON-2`."""
        return self._transport.protocol

    async def version(self) -> tuple[str, timedelta]:
        """Odoo's version, such as `18.0`, and how long the answer took. Needs no login."""
        started = time.monotonic()
        version = await self._transport.version()
        return version, timedelta(seconds=time.monotonic() - started)

    async def login(self) -> None:
        """Logs in as a delivery does."""
        await self._transport.login()

    async def offer_nothing(self) -> None:
        """Calls the addon's method with a result that changes nothing: its request id is unknown and its version is 0.

        The error shows whether Odoo or the addon refused it.

        An unknown model is `odoo_model_missing`; Odoo reports it with the class of any user error.
        """
        request_id = str(uuid4())
        result = {
            "requestId": request_id,
            "version": 0,
            "status": "failed",
            "errorCode": "doctor",
            "errorMessage": "-",
        }
        try:
            _checked(await self._transport.call(MODEL, METHOD, {"payload": result}))
        except PermanentError as error:
            if error.code == "odoo_usererror" and MODEL in error.detail and request_id not in error.detail:
                raise PermanentError("odoo_model_missing", error.detail) from error
            raise

    async def limits(self) -> Limits:
        """Returns what the addon tells about itself. An addon without the method tells nothing."""
        try:
            told = await self._transport.call(MODEL, LIMITS_METHOD, {})
        except PermanentError as error:
            if error.code != METHOD_MISSING:
                raise
            told = None
        answer = told if isinstance(told, dict) else {}
        limit = answer.get("imageBytes")
        return Limits(limit if isinstance(limit, int) else IMAGE_MAX, _uuid(answer))

    async def database_uuid(self) -> str | None:
        """Returns the uuid of Odoo's database, or None if the addon is too old to tell it."""
        return (await self.limits()).database_uuid

    async def aclose(self) -> None:
        """Closes the transport."""
        await self._transport.aclose()
