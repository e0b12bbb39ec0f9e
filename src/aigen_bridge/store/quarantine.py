"""The quarantine: stores callbacks that could not be used, complete. No authenticated callback is dropped.

Large payloads and images are objects of the image store, if there is one.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import N8N_REPORT, QuarantinedCallback, RefusedCallback
from aigen_bridge.domain.errors import ImageDamagedError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import QUARANTINED
from aigen_bridge.store.image_places import PART_MIN
from aigen_bridge.store.images import ImageStore
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import quarantine
from aigen_bridge.store.transitions import Deadlines

PARTS = ("payload", "image")
"""The columns with bytes. In a column beside each is the hash of the object that has them instead."""


class Quarantine:
    """The quarantine in PostgreSQL. `images` takes the large parts."""

    def __init__(self, database: Database, deadlines: Deadlines, images: ImageStore) -> None:
        self._database = database
        self._deadlines = deadlines
        self._images = images

    async def keep(self, refused: RefusedCallback) -> int:
        """Stores a callback and returns its number. A repeated callback only increments a counter."""
        objects = {part: await self._place(getattr(refused, part)) for part in PARTS}
        async with self._database.transaction(patient=True) as connection:
            number = await keep(connection, refused, objects=objects)
            await incidents.record(connection, [occurrence(refused, number)], self._deadlines.alert_window)
            return number

    async def get(self, number: int) -> QuarantinedCallback | None:
        """Returns the callback with this number, or None.

        Raises `ImageStoreAwayError`, and `ImageDamagedError` if a part in the image store is damaged or missing.
        """
        if (row := await self._row(number)) is None:
            return None
        try:
            parts = {part: await self._part(row, part) for part in PARTS}
        except ImageDamagedError:
            if (row := await self._row(number)) is None:
                return None
            parts = {part: await self._part(row, part) for part in PARTS}  # moved to PostgreSQL meanwhile
        return from_row(QuarantinedCallback, row, **parts)

    async def _row(self, number: int) -> Row[Any] | None:
        async with self._database.reading(patient=True) as connection:
            return (await connection.execute(select(quarantine).where(quarantine.c.id == number))).one_or_none()

    async def _part(self, row: Row[Any], part: str) -> bytes | None:
        sha256 = getattr(row, f"{part}_sha256")
        if sha256 is None:
            content: bytes | None = getattr(row, part)
            return content
        with suppress(ImageDamagedError):
            content = await self._images.get(ImageRef(QUARANTINED, sha256))
            if content is not None:
                return content
        raise ImageDamagedError(f"the {part} of callback-{row.id}")

    async def _place(self, content: bytes | None) -> str | None:
        """Stores a large part as an object. Returns its hash, or None if the row has to hold the part."""
        if content is None or len(content) < PART_MIN or not self._images.has_objects:
            return None
        ref = ImageRef(QUARANTINED, hashlib.sha256(content).hexdigest())
        return ref.sha256 if await self._images.place(ref, content) is None else None


async def keep(
    connection: AsyncConnection,
    refused: RefusedCallback,
    state: str = "open",
    objects: Mapping[str, str | None] = MappingProxyType({}),
) -> int:
    """Stores a callback in the caller's transaction. `state` is other than `open` if no operator has to handle it.

    `objects` are the hashes of the parts that are objects.
    """
    row = {
        "client": refused.client,
        "version": refused.version,
        "request_id": refused.request_id,
        "error_code": refused.error_code,
        "error_detail": refused.error_detail,
        "headers": dict(refused.headers),
        **{part: b"" if objects.get(part) else getattr(refused, part) for part in PARTS},
        **{f"{part}_sha256": objects.get(part) for part in PARTS},
        "fingerprint": _fingerprint(refused),
        "state": state,
        "handled_at": None if state == "open" else func.now(),
    }
    statement = insert(quarantine).values(row)
    statement = statement.on_conflict_do_update(
        index_elements=["fingerprint"],
        index_where=text("state = 'open'"),
        set_={"times_seen": quarantine.c.times_seen + 1, "seen_at": func.now()},
    )
    return int((await connection.execute(statement.returning(quarantine.c.id))).scalar_one())


def occurrence(refused: RefusedCallback, number: int) -> Occurrence:
    """Returns the occurrence that operators are notified of."""
    detail = f"callback-{number} from {refused.client}: {refused.error_detail}"
    cause = Cause.WORKFLOW_FAILED if refused.version == N8N_REPORT else Cause.CALLBACK_QUARANTINED
    return Occurrence(cause, detail, refused.request_id)


def _fingerprint(refused: RefusedCallback) -> bytes:
    kind = f"{refused.client} {refused.version} {refused.error_code}"
    if refused.version == N8N_REPORT:  # after a reset, N8N reuses execution ids: the same text may mean another request
        kind += f" {refused.request_id}"
    digest = hashlib.sha256(f"{kind}\n".encode())
    for part in (refused.payload, refused.image or b""):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()
