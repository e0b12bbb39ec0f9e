"""Simulates N8N, Odoo and the image URLs. They respond as the next action demands, and Odoo keeps its records."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from aigen_bridge.clients.odoo import read_answer
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ImageRequested
from aigen_bridge.domain.dead_letter import RefusedCallback
from aigen_bridge.domain.delivery import OdooAnswer
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.image import CheckedImage, ImageMetadata, StoredImage
from aigen_bridge.domain.outbox import Claim, Dead, Done, Outcome, Retry
from aigen_bridge.domain.provenance import MarkingMode, OnFailure, Origin, Provenance
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import Policy
from aigen_bridge.pipeline.callback import Examination
from aigen_bridge.pipeline.deliver import Deliver, Images
from aigen_bridge.pipeline.dispatch import Dispatch
from aigen_bridge.pipeline.fetch import Fetch
from aigen_bridge.pipeline.mark import Mark
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.sim.odoo_records import Records
from machine.expected import Report

Answer = Literal["well", "lost", "passing", "for good"]
"""`lost`: the call takes effect, but its response is lost."""

REQUESTS_MAX = 4
"""More requests only make failures harder to read, because requests interact only in batches."""
HOLDING = 3
RETRY_IN = 1
"""Minutes, not seconds as in the real schedule, so that a slow machine does not make entries due."""


def _drawn(content: bytes) -> CheckedImage:
    sha256 = hashlib.sha256(content).hexdigest()
    return CheckedImage(content, StoredImage("png", len(content), 64, 64, sha256), Provenance((), None, None, sha256))


PICTURES = {name: _drawn(b"\x89PNG\r\n\x1a\n" + name.encode()) for name in ("lighthouse", "harbour")}
"""Only the first bytes are examined here; the image checks have tests of their own."""
MARKED = {name: _drawn(picture.content + b", marked") for name, picture in PICTURES.items()}
DRAWN = {picture.described.sha256: picture for picture in (*PICTURES.values(), *MARKED.values())}
NAMES = {picture.described.sha256: name for each in (PICTURES, MARKED) for name, picture in each.items()}
ARE_MARKED = {picture.described.sha256 for picture in MARKED.values()}
REASONS = ("content_policy", "out_of_memory")


def request_id(number: int) -> UUID:
    """Returns the id of the n-th request, the same in every run."""
    return UUID(int=number + 1, version=4)


def number_of(which: UUID) -> int:
    """Returns the number of the request with this id."""
    return next(number for number in range(REQUESTS_MAX) if request_id(number) == which)


def correlation_id(number: int, *, right: bool = True) -> UUID:
    """Returns the correlation id of the n-th request, or a wrong one."""
    return UUID(int=(1000 if right else 2000) + number, version=4)


def speaks(which: UUID) -> bool:
    """Returns whether the workflow that takes this request knows the protocol of generations."""
    return which != request_id(1)


def marks(number: int) -> bool:
    """Returns whether the image of the n-th request is marked."""
    return number % 2 == 1


def holds(number: int) -> bool:
    """Returns whether the n-th request keeps an image that cannot be marked."""
    return number == HOLDING


def asked(number: int, prompt: str = "a lighthouse") -> ImageRequested:
    """Returns EVT-AIG-001."""
    ids = {"requestId": str(request_id(number)), "correlationId": str(correlation_id(number))}
    return ImageRequested.model_validate_json(json.dumps(examples.REQUESTED | ids | {"prompt": prompt}))


def reported(number: int, report: Report) -> ImageCompleted | ImageFailed:
    """Returns EVT-AIG-002 or EVT-AIG-003."""
    right = correlation_id(number, right=report.correlated)
    ids = {"requestId": str(request_id(number)), "correlationId": str(right)}
    if report.how == "failure":
        return ImageFailed.model_validate_json(
            json.dumps(ids | {"status": "failed", "errorCode": report.what, "errorMessage": "no"})
        )
    described = PICTURES[report.what].described
    sides = {"format": "png", "size": described.size, "width": 64, "height": 64}
    image = {"imageData": "aaaa"} if report.how == "image" else {"imageUrl": f"https://images.test/{report.what}"}
    event = {"status": "completed", "imageMetadata": sides, "hashValue": described.sha256}
    return ImageCompleted.model_validate_json(json.dumps(ids | event | image))


class Check:
    """Knows the images by their hashes."""

    async def __call__(self, content: bytes | str, said: ImageMetadata, sha256: str) -> CheckedImage:  # noqa: ARG002
        """Returns the image with this hash."""
        return DRAWN[sha256]

    async def as_found(self, content: bytes, *, reads_marks: bool = True) -> CheckedImage:
        """Returns the image with these bytes."""
        image = DRAWN[hashlib.sha256(content).hexdigest()]
        return image if reads_marks else replace(image, provenance=None)


def examine(number: int) -> Examination:
    """Returns the checks of the process that hears of the n-th request."""
    return Examination(Check(), str, marks=marks(number))


class World:
    """Plays N8N, Odoo and the image server; `odoo` are the addon's records."""

    def __init__(self, images: Images) -> None:
        self.odoo = Records(create_missing=True, folder=None)
        self._answer: Answer = "well"
        self._payloads: dict[tuple[str, int], Mapping[str, Any]] = {}
        policy = Policy(())
        self._runners: dict[tuple[Step, bool, bool], StepRunner] = {}
        for number in (0, 1, HOLDING):
            on_failure = OnFailure.HOLD if holds(number) else OnFailure.DELIVER
            runners: list[StepRunner] = [
                Dispatch(self, "http://bridge.test/callback", 1, policy),
                Fetch(self, Check(), self, 1, marks=marks(number)),
                Mark(self, images, Check(), on_failure, 1),
                Deliver(self, images, 1),
            ]
            self._runners |= {(runner.step, marks(number), holds(number)): runner for runner in runners}

    async def attempt(self, claim: Claim, answer: Answer) -> Outcome:
        """Runs the real step against a world that responds with `answer`."""
        number = number_of(claim.request.request_id)
        runner, self._answer = self._runners[claim.step, marks(number), holds(number)], answer
        try:
            return Done(await runner.run(claim))
        except TransientError as error:
            return Retry(claim.claimed_at + timedelta(minutes=RETRY_IN), error)
        except PermanentError as error:
            return Dead(error, runner.gave_up(error))

    async def send(self, event: Mapping[str, Any], *, correlation_id: UUID, message_id: str) -> frozenset[str]:
        """N8N's webhook."""
        assert (event["correlationId"], event["requestId"] in message_id) == (str(correlation_id), True)
        self._fail()
        return frozenset({"generation"} if speaks(UUID(event["requestId"])) else ())

    async def fetch(self, url: str, *, correlation_id: UUID) -> bytes:  # noqa: ARG002 - nothing to check it against
        """The picture behind a temporary URL."""
        self._fail()
        return PICTURES[url.rpartition("/")[2]].content

    async def mark(self, content: bytes, image_format: str, origin: Origin) -> tuple[bytes, MarkingMode]:  # noqa: ARG002
        """Adds a mark."""
        self._fail()
        return MARKED[NAMES[hashlib.sha256(content).hexdigest()]].content, MarkingMode.METADATA

    async def keep(self, refused: RefusedCallback) -> int:
        """Never called: no picture is refused."""
        raise AssertionError(refused)

    async def apply_result(self, payload: Mapping[str, Any]) -> OdooAnswer:
        """Plays the addon's one method. Repeats of a version must have the same payload."""
        answer = {"applied": False}
        if self._answer in {"well", "lost"}:
            key = (str(payload["requestId"]), int(payload["version"]))
            assert self._payloads.setdefault(key, payload) == payload, f"{key} was delivered with different payloads"
            answer = self.odoo.apply(dict(payload))
        self._fail()
        return read_answer(answer)

    def _fail(self) -> None:
        if self._answer in {"lost", "passing"}:
            raise TransientError("http_503", "busy", http_status=503)
        if self._answer == "for good":
            raise PermanentError("http_403", "no", http_status=403)
