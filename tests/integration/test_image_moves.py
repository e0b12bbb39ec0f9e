"""Images that are moved between PostgreSQL and the object store (a folder), in both directions."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from aigen_bridge.domain.dead_letter import OperatorAction, RefusedCallback
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store import image_moves, images
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_moves import ImageMoves, Moved
from aigen_bridge.store.image_places import PART_MIN, Target
from aigen_bridge.store.images import ObjectImages, PostgresImages
from image_stores import Folder, keep_completed
from outages import rows, write

OPERATOR = OperatorAction("test")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(image_moves, "SETTLING_SECONDS", 0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A store in a folder of its own."""
    return Folder(tmp_path / "images")


@pytest.fixture
def store(database: Database, folder: Folder) -> ObjectImages:
    """The image store with this folder."""
    return folder.images(database)


@pytest.fixture
def moves(database: Database, store: ObjectImages) -> ImageMoves:
    """The moves with this store."""
    return ImageMoves(database, store)


async def everything(moved: AsyncIterator[Moved]) -> Moved:
    """The sum of all pages."""
    pages = [page async for page in moved]
    return image_moves._sum(pages)


async def in_postgresql(database: Database) -> int:
    [(count,)] = await rows(database, "SELECT (SELECT count(*) FROM images) + (SELECT count(*) FROM original_images)")
    return int(count)


async def test_images_and_originals_move_there_and_back(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    refs = [await keep_completed(database, f"image {number}".encode()) for number in range(9)]
    original = await keep_completed(database, b"marked", original=b"as it came")
    expected = {ref: await store.get(ref) for ref in (*refs, original)}
    there = await everything(moves.to_store())
    waiting = await moves.waiting(Target.POSTGRESQL)
    objects = folder.keys()

    await moves.start(Target.POSTGRESQL, OPERATOR)
    back = await everything(moves.to_postgresql())
    folder.clear()

    assert (there.images, waiting.images, back.images) == (11, 11, 11)
    assert len(objects) == 11
    assert {ref: await store.get(ref) for ref in expected} == expected
    assert await moves.finish()
