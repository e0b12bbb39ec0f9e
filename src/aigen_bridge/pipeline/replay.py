"""A person puts dead letters back, or makes good by hand what could not be carried."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.callback import Completed, Take, judge
from aigen_bridge.domain.errors import BridgeError, ContradictionError, StoreUnavailableError, UnknownRequestError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import Change, ImageRequest
from aigen_bridge.store.dead_letters import DeadLetter
from aigen_bridge.store.operations import Deed

BULK_MAX = 1000
"""Dead letters that one bulk replay puts back; the answer says how many are left."""

DELAY_MAX = timedelta(days=30)
"""The longest delay of a dead letter in a bulk replay, however low the rate."""


class Store(Protocol):
    """What completing by hand needs of the store."""

    async def get(self, request_id: UUID) -> ImageRequest | None: ...


Complete = Callable[[Change, CheckedImage, Deed], Awaitable[bool]]
ReplayOne = Callable[[DeadLetter, timedelta], Awaitable[None]]
"""Puts one dead letter back, due after a delay. Raises `BridgeError` when it cannot."""


@dataclass(slots=True)
class Replayed:
    """How a bulk replay went: names of dead letters, and why each of the failed ones failed."""

    replayed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


async def replay_all(letters: Sequence[DeadLetter], replay: ReplayOne, *, per_second: float) -> Replayed:
    """Put them back in this order, spread over time so that at most `per_second` are due in a second."""
    done = Replayed()
    for letter in letters:
        try:
            await replay(letter, timedelta(seconds=min(len(done.replayed) / per_second, DELAY_MAX.total_seconds())))
        except StoreUnavailableError:
            raise
        except BridgeError as error:
            done.failed[letter.id] = error.detail
        else:
            done.replayed.append(letter.id)
    return done


async def complete_by_hand(
    store: Store, complete: Complete, request_id: UUID, image: CheckedImage, deed: Deed
) -> ImageRequest:
    """The request, completed with this image as if N8N had reported it.

    Raises `UnknownRequestError`; `ContradictionError` when it has already ended in a way that stands.
    """
    for _ in range(3):
        request = await store.get(request_id)
        if request is None:
            raise UnknownRequestError(request_id)
        change = _completion(request, image, deed)
        if await complete(change, image, deed):
            return await store.get(request_id) or request
    raise StoreUnavailableError(f"Request {request_id} is being changed by others at this moment.")


def _completion(request: ImageRequest, image: CheckedImage, deed: Deed) -> Change:
    verdict = judge(request, Completed(request.request_id, request.correlation_id, image.described))
    if not isinstance(verdict, Take):
        raise ContradictionError("request_ended", f"Request {request.request_id} is already {request.status}.")
    return Change(
        request_id=request.request_id,
        before=verdict.change.before,
        after=verdict.change.after,
        version=verdict.change.version,
        image=image.described,
        note=f"completed by hand by {deed.by}",
    )
