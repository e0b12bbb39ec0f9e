"""N8N's URL → bridge: fetches the image from its URL before the URL expires, and checks it like every other."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.errors import ImageRejectedError, PermanentError, StepError
from aigen_bridge.domain.outbox import Claim, Complete, Effect, Fail
from aigen_bridge.domain.request import FailureCode, Step
from aigen_bridge.domain.retry import Policy, exponential
from aigen_bridge.pipeline.check import ImageCheck

POLICY = Policy(
    waits=exponential(timedelta(seconds=1), factor=2, times=4, cap=timedelta(seconds=8)),
    then_every=timedelta(seconds=15),
    give_up_after=timedelta(hours=1),
)
"""1 s, 2 s, 4 s, 8 s, then every 15 s until the URL expires. Results at fal.ai expire after 6 minutes."""


class Fetcher(Protocol):
    """Fetches the bytes at a URL that N8N sent. Raises `StepError`."""

    async def fetch(self, url: str, *, correlation_id: UUID) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Fetch:
    """The `fetch` step."""

    fetcher: Fetcher
    check: ImageCheck
    concurrency: int
    policy: Policy = POLICY
    step: Step = Step.FETCH

    async def run(self, claim: Claim) -> Effect:
        """Fetches the image and checks it against what N8N declared."""
        awaited = claim.request.awaited
        if awaited is None:
            raise PermanentError(
                "url_missing", f"Request {claim.request.request_id} has no image URL, or none that can be read."
            )
        content = await self.fetcher.fetch(awaited.url, correlation_id=claim.request.correlation_id)
        try:
            return Complete(await self.check(content, awaited, awaited.sha256))
        except ImageRejectedError as error:
            raise PermanentError(error.code, error.detail) from error

    def gave_up(self, error: StepError) -> Effect:
        """Fails the request, with a code that shows whether the image was wrong or missing."""
        if error.code == FailureCode.IMAGE_REJECTED:
            return Fail(FailureCode.IMAGE_REJECTED, f"The image failed its checks: {error.detail}")
        return Fail(FailureCode.IMAGE_FETCH_FAILED, f"The image could not be fetched: {error.detail}")
