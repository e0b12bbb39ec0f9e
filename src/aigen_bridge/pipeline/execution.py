"""N8N → bridge: records which execution works on a request, and handles executions that failed without a result."""

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
"""Maximum length of an execution's id. A longer one is not from N8N and is not recorded."""
NOTE_WITHIN = 2.0
"""Timeout in seconds. N8N waits 5 s for the response."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """The executions and their requests."""

    async def note(self, execution_id: str, request_id: UUID) -> None: ...

    async def report(
        self, report: RefusedCallback, execution_id: str, judge: Callable[[ImageRequest, Standing], Verdict]
    ) -> Reported: ...


def usable_id(text: str | None) -> str | None:
    """Returns an execution's id in the form in which it is stored and looked up, or None."""
    return storable(text) if text and len(text) <= ID_MAX else None


async def note_execution(store: Store, request_id: UUID, execution_id: str | None) -> None:
    """Records which request an execution works on. Never raises: the deadline ends a lost request anyway."""
    known = usable_id(execution_id)
    if known is None:
        return
    try:
        async with asyncio.timeout(NOTE_WITHIN):
            await store.note(known, request_id)
    except Exception as error:  # noqa: BLE001 - N8N must get its response
        log.warning(
            "execution.record_failed", request_id=str(request_id), detail=f"{type(error).__name__}: {error}"[:300]
        )


async def take_failed_execution(store: Store, failed: FailedExecution, report: RefusedCallback) -> Reported:
    """Stores the report, and sends the request again, fails it or leaves it unchanged (`domain/execution.py`)."""
    return await store.report(report, failed.execution_id, partial(judge_failed_execution, failed))
