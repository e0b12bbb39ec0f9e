"""N8N → bridge: check what came, store it, then answer. Repeats change nothing, contradictions are refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.domain.callback import Available, Completed, Failed, Keep, Repeat, Result, Take, judge
from aigen_bridge.domain.errors import (
    ImageRejectedError,
    PermanentError,
    StoreUnavailableError,
    UnknownRequestError,
)
from aigen_bridge.domain.image import CheckedImage, ImageMetadata, normal_format, parse_sha256
from aigen_bridge.domain.request import AwaitedImage, Change, ImageRequest, Status
from aigen_bridge.pipeline.check import ImageCheck

ROUNDS = 5
"""How often a request may be moved by others between reading and writing before we ask to try again."""

MESSAGE_MAX, CODE_MAX = 4000, 200
"""Characters kept of what N8N says about a failure."""


class Store(Protocol):
    """What this step needs of the store."""

    async def get(self, request_id: UUID) -> ImageRequest | None: ...

    async def move(self, change: Change, image: CheckedImage | None = None) -> int | None: ...

    async def keep_image(self, request_id: UUID, image: CheckedImage) -> bool: ...

    async def keep_awaited(self, request_id: UUID, awaited: AwaitedImage) -> bool: ...


RefuseUrl = Callable[[str], object]
"""Raises `PermanentError` for a URL that we would never fetch."""


@dataclass(frozen=True, slots=True)
class Examination:
    """How what came is proven."""

    check: ImageCheck
    refuse_url: RefuseUrl


@dataclass(frozen=True, slots=True)
class Receipt:
    """The callback is taken and committed; `duplicate` when it changed nothing."""

    request_id: UUID
    status: Status
    duplicate: bool


async def take_callback(
    store: Store, examine: Examination, event: ImageCompleted | ImageFailed, content: bytes | None = None
) -> Receipt:
    """Check and store a result; `content` is the image when it came beside the event.

    Raises `UnknownRequestError`, `ContradictionError`, `ImageRejectedError`, `StoreUnavailableError`; in each
    case the request is as it was before.
    """
    request = await _known(store, event.request_id)  # before any work on the image
    result, image = await _examined(event, content, examine)
    for _ in range(ROUNDS):
        receipt = await _try_to_take(store, request, result, image)
        if receipt is not None:
            return receipt
        request = await _known(store, event.request_id)
    raise StoreUnavailableError(f"Request {event.request_id} is being changed by others at this moment.")


async def _known(store: Store, request_id: UUID) -> ImageRequest:
    request = await store.get(request_id)
    if request is None:
        raise UnknownRequestError(request_id)
    return request


async def _try_to_take(
    store: Store, request: ImageRequest, result: Result, image: CheckedImage | None
) -> Receipt | None:
    match judge(request, result):
        case Repeat():
            return Receipt(request.request_id, request.status, duplicate=True)
        case Keep():
            kept = await _keep(store, result, image)
            return Receipt(request.request_id, request.status, duplicate=False) if kept else None
        case Take(change):
            moved = await store.move(change, image)
            return Receipt(request.request_id, change.after, duplicate=False) if moved else None


async def _keep(store: Store, result: Result, image: CheckedImage | None) -> bool:
    if image is not None:
        return await store.keep_image(result.request_id, image)
    return isinstance(result, Available) and await store.keep_awaited(result.request_id, result.awaited)


async def _examined(
    event: ImageCompleted | ImageFailed, content: bytes | None, examine: Examination
) -> tuple[Result, CheckedImage | None]:
    ids = event.request_id, event.correlation_id
    if isinstance(event, ImageFailed):
        code = event.error_code[:CODE_MAX] if event.error_code else None
        return Failed(*ids, code, event.error_message[:MESSAGE_MAX]), None
    if event.image_url is not None:
        return Available(*ids, _awaited(event, event.image_url, examine.refuse_url)), None
    said = event.image_metadata
    metadata = ImageMetadata(said.format, said.size, said.width, said.height)
    image = await examine.check(content or event.image_data or "", metadata, event.hash_value)
    return Completed(*ids, image.described), image


def _awaited(event: ImageCompleted, url: str, refuse_url: RefuseUrl) -> AwaitedImage:
    sha256 = parse_sha256(event.hash_value)
    if sha256 is None:
        raise ImageRejectedError((f"hashValue {event.hash_value[:80]!r} is not a SHA-256.",))
    try:
        refuse_url(url)
    except PermanentError as error:
        raise ImageRejectedError((f"imageUrl is refused: {error.detail}",)) from error
    said = event.image_metadata
    return AwaitedImage(
        format=normal_format(said.format),
        size=said.size,
        width=said.width,
        height=said.height,
        sha256=sha256,
        url=url,
        expires_at=event.result_expires_at,
    )
