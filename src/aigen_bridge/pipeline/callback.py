"""N8N → bridge: check what came, store it, then answer. Repeats change nothing, contradictions are refused."""

import asyncio
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import pybase64

from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ReportedMetadata
from aigen_bridge.domain.callback import Completed, Failed, Keep, Repeat, Result, Take, judge
from aigen_bridge.domain.errors import ImageRejectedError, StoreUnavailableError, UnknownRequestError
from aigen_bridge.domain.image import CheckedImage, ImageMetadata, check
from aigen_bridge.domain.request import Change, ImageRequest, Status

ROUNDS = 5
"""How often a request may be moved by others between reading and writing before we ask to try again."""

MESSAGE_MAX, CODE_MAX = 4000, 200
"""Characters kept of what N8N says about a failure."""


class Store(Protocol):
    """What this step needs of the store."""

    async def get(self, request_id: UUID) -> ImageRequest | None: ...

    async def move(self, change: Change, image: CheckedImage | None = None) -> int | None: ...

    async def keep_image(self, request_id: UUID, image: CheckedImage) -> None: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """The callback is taken and committed; `duplicate` when it changed nothing."""

    request_id: UUID
    status: Status
    duplicate: bool


async def take_callback(store: Store, event: ImageCompleted | ImageFailed) -> Receipt:
    """Check and store a result.

    Raises `UnknownRequestError`, `ContradictionError`, `ImageRejectedError`, `StoreUnavailableError`; in each
    case the request is as it was before.
    """
    if await store.get(event.request_id) is None:  # before any work on the image
        raise UnknownRequestError(event.request_id)
    image = await asyncio.to_thread(_checked, event) if isinstance(event, ImageCompleted) else None
    result = _result(event, image)
    for _ in range(ROUNDS):
        receipt = await _try_to_take(store, result, image)
        if receipt is not None:
            return receipt
    raise StoreUnavailableError(f"Request {event.request_id} is being changed by others at this moment.")


async def _try_to_take(store: Store, result: Result, image: CheckedImage | None) -> Receipt | None:
    request = await store.get(result.request_id)
    if request is None:
        raise UnknownRequestError(result.request_id)
    match judge(request, result):
        case Repeat():
            return Receipt(request.request_id, request.status, duplicate=True)
        case Keep():
            assert image is not None  # noqa: S101 - only images are kept
            await store.keep_image(request.request_id, image)
            return Receipt(request.request_id, request.status, duplicate=False)
        case Take(change):
            moved = await store.move(change, image)
            return Receipt(request.request_id, change.after, duplicate=False) if moved else None


def _checked(event: ImageCompleted) -> CheckedImage:
    assert event.image_data is not None  # noqa: S101 - the API takes no imageUrl
    try:
        content = pybase64.b64decode(event.image_data, validate=True)
    except ValueError as error:
        raise ImageRejectedError((f"imageData is not base64: {error}.",)) from error
    return check(content, _metadata(event.image_metadata), event.hash_value)


def _metadata(said: ReportedMetadata) -> ImageMetadata:
    return ImageMetadata(said.format, said.size, said.width, said.height)


def _result(event: ImageCompleted | ImageFailed, image: CheckedImage | None) -> Result:
    if isinstance(event, ImageFailed):
        code = event.error_code[:CODE_MAX] if event.error_code else None
        return Failed(event.request_id, event.correlation_id, code, event.error_message[:MESSAGE_MAX])
    assert image is not None  # noqa: S101 - a completed event was checked
    return Completed(event.request_id, event.correlation_id, image.described)
