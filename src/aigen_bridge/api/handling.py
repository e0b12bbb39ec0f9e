"""What a person does about one dead letter, whichever kind it is."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from fastapi import Request

from aigen_bridge.api.callbacks import Arrival, process
from aigen_bridge.api.errors import NothingToReplayError, UnknownDeadLetterError
from aigen_bridge.domain.request import Status
from aigen_bridge.store.operations import Deed
from aigen_bridge.store.quarantine import EXECUTION_FAILED, FROM_N8N, QuarantinedCallback
from aigen_bridge.wiring import ApiParts


@dataclass(frozen=True, slots=True)
class DeadLetterName:
    """`entry-7` is an outbox entry, `callback-7` what N8N sent and is in quarantine."""

    PATTERN: ClassVar[str] = r"^(entry|callback)-[0-9]{1,18}$"

    kind: str
    number: int

    @classmethod
    def read(cls, name: str) -> "DeadLetterName":
        """Take a name apart. Raises `UnknownDeadLetterError` for one that cannot be."""
        if not re.match(cls.PATTERN, name):
            raise UnknownDeadLetterError(name[:100])
        kind, _, number = name.partition("-")
        return cls(kind, int(number))

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"


async def replay_letter(
    request: Request, parts: ApiParts, name: DeadLetterName, deed: Deed, *, delay: timedelta = timedelta(0)
) -> tuple[UUID | None, Status | None]:
    """Put it back; the request that it is for, if it is for one, and how that stands now."""
    if name.kind == "callback":
        kept = await _open_callback(parts, name)
        if (kept.version, kept.error_code) == (FROM_N8N, EXECUTION_FAILED):
            return await _send_again(parts, name, kept, deed, delay)
        receipt = await process(request, parts, Arrival(kept.client, kept.version, kept.payload, kept.image))
        await parts.operations.close_callback(name.number, "replayed", deed)
        return receipt.request_id, receipt.status
    replayed = await parts.operations.replay_entry(name.number, deed, delay=delay)
    if replayed is None:
        raise UnknownDeadLetterError(str(name))
    return replayed.request_id, replayed.status


async def _send_again(
    parts: ApiParts, name: DeadLetterName, kept: QuarantinedCallback, deed: Deed, delay: timedelta
) -> tuple[UUID, Status]:
    """Replays the report of a failed execution: sends its request to N8N again, if that request has failed."""
    if kept.request_id is None or await parts.requests.get(kept.request_id) is None:
        raise NothingToReplayError(str(name))
    request = await parts.operations.send_again(name.number, kept.request_id, deed, delay=delay)
    if request is None:
        raise UnknownDeadLetterError(str(name))
    return request.request_id, request.status


async def discard_letter(parts: ApiParts, name: DeadLetterName, deed: Deed) -> UUID | None:
    """Give it up for good; the request that it was for."""
    if name.kind == "callback":
        kept = await _open_callback(parts, name)
        if await parts.operations.close_callback(name.number, "discarded", deed):
            return kept.request_id
        raise UnknownDeadLetterError(str(name))
    discarded = await parts.operations.discard_entry(name.number, deed)
    if discarded is None:
        raise UnknownDeadLetterError(str(name))
    return discarded.request_id


async def _open_callback(parts: ApiParts, name: DeadLetterName) -> QuarantinedCallback:
    kept = await parts.quarantine.get(name.number)
    if kept is None or kept.state != "open":
        raise UnknownDeadLetterError(str(name))
    return kept
