"""Bridge → Odoo: reports the state of a request until Odoo acknowledges it. Odoo may be down for hours."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol

import pybase64

from aigen_bridge.contracts.resources import CostState, GenerationState, ProvenanceState
from aigen_bridge.domain.delivery import OdooAnswer, is_wrong_database, judge_answer
from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.domain.image import ODOO_IMAGE_MAX, ImageRef, StoredImage
from aigen_bridge.domain.outbox import Claim, Delivered, Effect
from aigen_bridge.domain.request import DEFAULT_ODOO, ImageRequest, Status, Step
from aigen_bridge.domain.retry import Policy, exponential

POLICY = Policy(
    waits=exponential(timedelta(seconds=1), factor=2, times=9, cap=timedelta(minutes=5)),
    then_every=timedelta(minutes=5),
    give_up_after=timedelta(hours=24),
    jitter=0.2,
)
"""1 s, 2 s, 4 s … 256 s, then every 5 minutes for a day. An upgrade of Odoo takes hours."""


TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Odoo(Protocol):
    """The addon's only method, which is idempotent by (requestId, version). Raises `StepError`."""

    async def apply_result(self, payload: Mapping[str, Any]) -> OdooAnswer: ...


class Images(Protocol):
    """The bytes of the images."""

    async def get(self, ref: ImageRef) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Deliver:
    """The `deliver` step for one Odoo. `name` is its name in the settings."""

    odoo: Odoo
    images: Images
    concurrency: int
    policy: Policy = POLICY
    step: Step = Step.DELIVER
    name: str = DEFAULT_ODOO

    async def run(self, claim: Claim) -> Effect:
        """Reports the state with one idempotent call. Odoo ignores what it knows, and says what it knows.

        Does nothing for a trial (`deliver: false`): no record in Odoo waits for its result.
        """
        request = claim.request
        if request.odoo != self.name:
            raise PermanentError(
                "wrong_odoo",
                f"The delivery of request {request.request_id} is in the queue of Odoo {self.name}, but the request "
                f"belongs to Odoo {request.odoo}. Replay this dead letter, which puts it into the right queue.",
            )
        if request.event.get("deliver") is False:
            return Delivered(request.version)
        payload = _payload(request) | _facts(request)
        if claim.database_uuid:
            payload["databaseUuid"] = claim.database_uuid
        if request.status is Status.COMPLETED:
            payload["image"] = await self._image(request)
            payload |= _provenance(request)
        try:
            answer = await self.odoo.apply_result(payload)
        except PermanentError as error:
            if error.http_status == TOO_LARGE and request.image:
                detail = f"{error.detail} {_too_large(request.image)}"
                raise PermanentError(error.code, detail, http_status=TOO_LARGE) from error
            raise
        if is_wrong_database(claim, answer):
            raise TransientError("wrong_database", self._describe_wrong(claim, answer), away=True)
        return judge_answer(claim, answer)

    def _describe_wrong(self, claim: Claim, answer: OdooAnswer) -> str:
        return (
            f"Another database answered for Odoo {self.name}: its uuid is {answer.database_uuid}, the known one is "
            f"{claim.database_uuid}. Its results are held. If that is a copy, correct the address or the database in "
            f"the settings; if the database was moved or replaced, run 'aigen-bridge odoos confirm {self.name}'."
        )

    async def _image(self, request: ImageRequest) -> dict[str, Any]:
        described = request.image
        if described is not None and described.size > ODOO_IMAGE_MAX:  # Odoo hangs up, as if it were away
            raise PermanentError("image_too_large", _too_large(described))
        content = await self.images.get(ImageRef(request.request_id, described.sha256)) if described else None
        if content is None or described is None:
            raise PermanentError("image_missing", f"The image of request {request.request_id} is not stored.")
        return asdict(described) | {"data": pybase64.b64encode(content).decode("ascii")}

    def gave_up(self, error: StepError) -> Effect:  # noqa: ARG002 - the same for every error
        """Has no effect: the request has ended, and the dead letter records that Odoo does not know."""
        return None


def _too_large(image: StoredImage) -> str:
    return (
        f"The image has {image.size} bytes, a third more as base64. Odoo takes at most {ODOO_IMAGE_MAX}, and a proxy "
        "before it what its limit for bodies allows (nginx: client_max_body_size). The image is kept; replay this dead "
        "letter once the limit is raised."
    )


def _payload(request: ImageRequest) -> dict[str, Any]:
    payload = {
        "requestId": str(request.request_id),
        "version": request.version,
        "status": request.status.value,
        "errorCode": request.error_code,
        "errorMessage": request.error_message,
        "replayable": request.is_replayable if request.status is Status.FAILED else None,
    }
    return {name: value for name, value in payload.items() if value is not None}


def _provenance(request: ImageRequest) -> dict[str, Any]:
    if request.provenance is None:
        return {}
    return {"provenance": ProvenanceState.of(request.provenance).model_dump(mode="json", by_alias=True)}


def _facts(request: ImageRequest) -> dict[str, Any]:
    """Returns `generation` and `cost` of the payload, as far as they were known when the request ended.

    A cancelled request has none: an image that is kept after the cancellation changes its facts, but not its version.
    """
    if request.status is Status.CANCELLED:
        return {}
    facts = request.facts
    known = {
        "generation": GenerationState.of(facts.generation, None) if facts.generation else None,
        "cost": CostState.of(facts.cost) if facts.cost else None,
    }
    shown = {
        name: state.model_dump(mode="json", by_alias=True, exclude_none=True) for name, state in known.items() if state
    }
    return {name: state for name, state in shown.items() if state}
