"""Decides what a callback means for its request. Callbacks may be repeated, late, early or contradictory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.image import StoredImage
from aigen_bridge.domain.provenance import Provenance
from aigen_bridge.domain.request import AwaitedImage, FailedBy, ImageRequest, Status, VersionedTransition

if TYPE_CHECKING:
    from aigen_bridge.domain.generation import Generation


@dataclass(frozen=True, slots=True)
class Completed:
    """N8N generated the image, and it has been checked (EVT-AIG-002 with the image)."""

    request_id: UUID
    correlation_id: UUID
    image: StoredImage
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Available:
    """N8N generated the image, and it can be fetched from a temporary URL (EVT-AIG-002 with a URL)."""

    request_id: UUID
    correlation_id: UUID
    awaited: AwaitedImage


@dataclass(frozen=True, slots=True)
class Failed:
    """N8N could not generate the image (EVT-AIG-003). `execution_id` is who says so, if it was reported."""

    request_id: UUID
    correlation_id: UUID
    error_code: str | None
    error_message: str
    execution_id: str | None = None


Result = Completed | Available | Failed


@dataclass(frozen=True, slots=True)
class Take:
    """The result moves the request, provided that the request has not changed since it was read."""

    transition: VersionedTransition


@dataclass(frozen=True, slots=True)
class Keep:
    """The request was cancelled: the result is stored, and nothing else happens."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The result is already known, or does not count, and `reason` says why. Nothing changes."""

    reason: str | None = None


def judge(
    request: ImageRequest, result: Result, generation: "Generation | None" = None, *, marks: bool = False
) -> Take | Keep | Repeat:
    """Decides what to do with `result`. Raises `ContradictionError` if it contradicts an earlier one.

    `generation` matters for a failure: it does not count while another execution holds the grant or polls the job.
    `marks`: an image is marked before it completes its request.
    """
    if request.correlation_id != result.correlation_id:
        raise ContradictionError(
            "correlation_mismatch",
            f"Request {request.request_id} has the correlationId {request.correlation_id}, "
            f"the callback says {result.correlation_id}.",
        )
    if isinstance(result, Failed):
        if generation is not None and generation.is_held_by_another(result.execution_id):
            code = f" ({result.error_code})" if result.error_code else ""
            return Repeat(
                f"N8N execution {result.execution_id} failed{code}, which does not count: "
                f"execution {generation.execution_id} generates the image"
            )
        return _judge_failed(request, result)
    return _judge_image(request, result, marks=marks)


def is_wanted(request: ImageRequest) -> bool:
    """Returns whether an image generated from now on would be accepted. If not, its generation must not be paid for."""
    settled = request.image is not None or _awaits(request) or request.failed_by is FailedBy.N8N
    return not settled and request.status is not Status.CANCELLED


def _judge_image(request: ImageRequest, result: Completed | Available, *, marks: bool) -> Take | Keep | Repeat:
    sha256 = result.image.sha256 if isinstance(result, Completed) else result.awaited.sha256
    if (known := _known_sha256(request)) not in {None, sha256}:
        raise _contradiction(request, f"with another image (SHA-256 {known})")
    if request.image is not None or (isinstance(result, Available) and _awaits(request)):
        return Repeat()
    if request.failed_by is FailedBy.N8N:
        raise _contradiction(request, f"with the error {request.error_code!r}")
    if request.status is Status.CANCELLED:
        return Keep()
    if isinstance(result, Completed):
        after = Status.RECEIVED if marks else Status.COMPLETED
        return Take(
            VersionedTransition(**_read(request), after=after, image=result.image, provenance=result.provenance)
        )
    return Take(VersionedTransition(**_read(request), after=Status.RECEIVED, awaited=result.awaited))


def _known_sha256(request: ImageRequest) -> str | None:
    if request.image is not None:
        return request.original_sha256
    return request.awaited.sha256 if request.awaited and _awaits(request) else None


def _awaits(request: ImageRequest) -> bool:
    """Returns whether an image is being fetched, or is kept to be fetched.

    After a failure of the bridge, a new image may arrive, so an earlier one does not count.
    """
    kept = request.status is Status.CANCELLED and request.awaited is not None
    return kept or request.status is Status.RECEIVED


def _judge_failed(request: ImageRequest, result: Failed) -> Take | Repeat:
    if request.status in {Status.COMPLETED, Status.RECEIVED}:
        raise _contradiction(request, "with an image")
    if request.failed_by is FailedBy.N8N and _reason(request) != _reason(result):
        raise _contradiction(request, f"with another error ({request.error_code!r})")
    if request.status in {Status.FAILED, Status.CANCELLED}:
        return Repeat()
    return Take(
        VersionedTransition(
            **_read(request),
            after=Status.FAILED,
            failed_by=FailedBy.N8N,
            error_code=result.error_code,
            error_message=result.error_message,
        )
    )


def _reason(failure: ImageRequest | Failed) -> tuple[str | None, str | None]:
    return failure.error_code, failure.error_message


def _read(request: ImageRequest) -> dict[str, Any]:
    return {
        "request_id": request.request_id,
        "before": frozenset({request.status}),
        "version": request.version,
    }


def _contradiction(request: ImageRequest, result: str) -> ContradictionError:
    return ContradictionError(
        "callback_contradicts",
        f"An earlier callback has already settled request {request.request_id} {result}; it is {request.status}.",
    )
