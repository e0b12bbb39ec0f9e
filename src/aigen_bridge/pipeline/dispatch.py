"""Bridge → N8N: calls the webhook until N8N acknowledges the request (REQ-IL-002, REQ-IL-009)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from aigen_bridge.contracts.generation import provider_job
from aigen_bridge.domain.destination import TRIES
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.outbox import Advance, Claim, Effect, Fail
from aigen_bridge.domain.request import FailureCode, Status, Step
from aigen_bridge.domain.retry import Policy, exponential

POLICY = Policy(waits=exponential(timedelta(seconds=1), factor=2, times=TRIES - 1, cap=timedelta(seconds=4)))
"""1 s, 2 s, 4 s, as specified. `wiring` adds the jitter from the settings."""


GENERATION = "generation"
"""The workflow asks before it pays, names the job, and reports progress (interface, "Generation")."""


class Webhook(Protocol):
    """N8N's webhook. Returns when N8N has acknowledged the event, with what its workflow speaks.

    Raises `TransientError` or `PermanentError`.
    """

    async def send(self, event: Mapping[str, Any], *, correlation_id: UUID, message_id: str) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The `dispatch` step. `callback_url` is where N8N reports the result. It always points to the bridge."""

    webhook: Webhook
    callback_url: str
    concurrency: int
    policy: Policy = POLICY
    step: Step = Step.DISPATCH

    async def run(self, claim: Claim) -> Effect:
        """Sends EVT-AIG-001 with every field that was given, with the model, and with the job if one is known."""
        event = {**claim.request.event, "callbackUrl": self.callback_url}
        if claim.request.model is not None:
            event["model"] = claim.request.model
        if claim.job:
            event["providerJob"] = provider_job(claim.job)
        message_id = f"msg_{claim.request.request_id}_{claim.entry_id}"  # the same in every attempt at this entry
        correlation_id = claim.request.correlation_id
        speaks = await self.webhook.send(event, correlation_id=correlation_id, message_id=message_id)
        return Advance(Status.DISPATCHED, speaks=GENERATION in speaks)

    def gave_up(self, error: StepError) -> Effect:
        """Fails the request, which reports the reason to the person who asked."""
        return Fail(FailureCode.DISPATCH_FAILED, f"The image service could not be reached: {error.detail}")
