"""N8N → bridge: which execution works on a request, and that one failed without a result."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from aigen_bridge.domain.dead_letter import RefusedCallback
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.execution import FailedExecution, Reported, Standing, Verdict, judge_failed_execution
from aigen_bridge.domain.request import ImageRequest

ID_MAX = 200
"""Characters of an execution's id; a longer one is none of N8N's and is not noted."""
NOTE_WITHIN = 2.0
"""Seconds. N8N waits 5 s for the answer."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """The executions and their requests."""

    async def note(self, execution_id: str, request_id: UUID) -> None: ...

    async def report(
        self, report: RefusedCallback, execution_id: str, judge: Callable[[ImageRequest, Standing], Verdict]
    ) -> Reported: ...


def usable_id(text: str | None) -> str | None:
    """An execution's id as it is stored and looked up, or None."""
    return storable(text) if text and len(text) <= ID_MAX else None


async def note_execution(store: Store, request_id: UUID, execution_id: str | None) -> None:
    """Note which request an execution works on. Never raises: without the note, the deadline ends a lost request."""
    known = usable_id(execution_id)
    if known is None:
        return
    try:
        async with asyncio.timeout(NOTE_WITHIN):
            await store.note(known, request_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, N8N gets its answer
        log.warning("execution.not_noted", request_id=str(request_id), detail=f"{type(error).__name__}: {error}"[:300])


async def take_failed_execution(store: Store, failed: FailedExecution, report: RefusedCallback) -> Reported:
    """Keep the report; send the request again, fail it, or leave it as it is (`domain/execution.py`)."""
    return await store.report(report, failed.execution_id, partial(judge_failed_execution, failed))
