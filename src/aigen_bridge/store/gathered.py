"""What callbacks need of the requests, gathered: those that come at the same time share reads and commits."""

from datetime import timedelta
from uuid import UUID

from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import AwaitedImage, Change, ImageRequest
from aigen_bridge.store.connection import TIMEOUT
from aigen_bridge.store.group_commit import GroupCommit
from aigen_bridge.store.requests import Requests

GATHERED_MAX = 100
"""Callbacks in one statement, at most."""


class GatheredRequests:
    """Each caller gets the answer to its own question, after the commit that holds its move."""

    def __init__(self, requests: Requests, patience: timedelta = TIMEOUT) -> None:
        self._requests = requests
        self._get = GroupCommit(requests.get_each, most=GATHERED_MAX, patience=patience)
        self._move = GroupCommit(requests.move_as_read, most=GATHERED_MAX, patience=patience)

    async def get(self, request_id: UUID) -> ImageRequest | None:
        """The request, or None."""
        return await self._get(request_id)

    async def move(self, change: Change, image: CheckedImage | None = None) -> int | None:
        """As `Requests.move_as_read`. None also for the second of two moves of one request: look, and try again.

        Images go each alone, side by side: writing one takes longer than the commit that it would share.
        """
        if image is not None:
            return (await self._requests.move_as_read([change], image.content))[0]
        return await self._move(change)

    async def keep_image(self, request_id: UUID, image: CheckedImage) -> bool:
        """As `Requests.keep_image`: rare, so not gathered."""
        return await self._requests.keep_image(request_id, image)

    async def keep_awaited(self, request_id: UUID, awaited: AwaitedImage) -> bool:
        """As `Requests.keep_awaited`: rare, so not gathered."""
        return await self._requests.keep_awaited(request_id, awaited)
