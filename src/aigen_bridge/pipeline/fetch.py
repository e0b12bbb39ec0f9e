"""N8N's URL → bridge: fetches the image from its URL before the URL expires, and checks it like every other."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.dead_letter import RefusedCallback
from aigen_bridge.domain.errors import BridgeError, ImageRejectedError, PermanentError, StepError, TransientError
from aigen_bridge.domain.outbox import Claim, Complete, Effect, Fail, Received
from aigen_bridge.domain.request import AwaitedImage, FailureCode, ImageRequest, Step
from aigen_bridge.domain.retry import Policy, exponential
from aigen_bridge.pipeline.check import ImageCheck

POLICY = Policy(
    waits=exponential(timedelta(seconds=1), factor=2, times=4, cap=timedelta(seconds=8)),
    then_every=timedelta(seconds=15),
    give_up_after=timedelta(hours=1),
)
"""1 s, 2 s, 4 s, 8 s, then every 15 s until the URL expires. Results at fal.ai expire after 6 minutes."""


CUT_OFF_TRIES = 6
"""Attempts, over half a minute, before an image that is shorter than N8N declared counts as another image."""


class Fetcher(Protocol):
    """Fetches the bytes at a URL that N8N sent. Raises `StepError`."""

    async def fetch(self, url: str, *, correlation_id: UUID) -> bytes: ...


class Quarantine(Protocol):
    """Keeps what could not be used, for an operator. Returns its number."""

    async def keep(self, refused: RefusedCallback) -> int: ...


@dataclass(frozen=True, slots=True)
class Fetch:
    """The `fetch` step. `marks`: a fetched image is marked before it is delivered."""

    fetcher: Fetcher
    check: ImageCheck
    quarantine: Quarantine
    concurrency: int
    policy: Policy = POLICY
    step: Step = Step.FETCH
    marks: bool = False

    async def run(self, claim: Claim) -> Effect:
        """Fetches the image and checks it against what N8N declared. Keeps an image that is refused."""
        request, awaited = claim.request, claim.request.awaited
        if awaited is None:
            raise PermanentError(
                "url_missing", f"Request {request.request_id} has no image URL, or none that can be read."
            )
        content = await self.fetcher.fetch(awaited.url, correlation_id=request.correlation_id)
        try:
            image = await self.check(content, awaited, awaited.sha256)
            return Received(image) if self.marks else Complete(image)
        except ImageRejectedError as error:
            if claim.attempt < CUT_OFF_TRIES and _is_cut_off(content, awaited):
                detail = f"Only {len(content)} of the image's {awaited.size} bytes came."
                raise TransientError("image_cut_off", detail) from error
            number = await self.quarantine.keep(_refused(request, awaited, content, error))
            kept = f"It is kept as dead letter callback-{number}, because its URL expires."
            raise PermanentError(error.code, f"{error.detail} {kept}") from error

    def gave_up(self, error: StepError) -> Effect:
        """Fails the request, with a code that shows whether the image was wrong or missing."""
        if error.code == FailureCode.IMAGE_REJECTED:
            return Fail(FailureCode.IMAGE_REJECTED, f"The image failed its checks: {error.detail}")
        return Fail(FailureCode.IMAGE_FETCH_FAILED, f"The image could not be fetched: {error.detail}")


def _is_cut_off(content: bytes, awaited: AwaitedImage) -> bool:
    """Returns whether less came than N8N had. A server that ends a body by closing the connection names no length."""
    return len(content) < awaited.size and hashlib.sha256(content).hexdigest() != awaited.sha256


def _refused(request: ImageRequest, awaited: AwaitedImage, content: bytes, error: BridgeError) -> RefusedCallback:
    """Builds the callback of version 2 with which N8N would have sent the image. A replay checks it again."""
    metadata = {name: getattr(awaited, name) for name in ("format", "size", "width", "height")}
    event = {
        "requestId": str(request.request_id),
        "correlationId": str(request.correlation_id),
        "status": "completed",
        "imageMetadata": metadata,
        "hashValue": awaited.sha256,
    }
    return RefusedCallback(
        client="bridge",
        version="v2",
        request_id=request.request_id,
        error_code=error.code,
        error_detail=error.detail,
        headers={},
        payload=json.dumps(event).encode(),
        image=content,
    )
