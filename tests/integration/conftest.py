"""An image store in a folder, for the tests of it."""

import hashlib
from pathlib import Path
from uuid import uuid4

import pytest

from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import ObjectImages
from image_stores import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A store in a folder of its own."""
    return Folder(tmp_path / "images")


@pytest.fixture
def store(database: Database, folder: Folder) -> ObjectImages:
    """The image store with this folder."""
    return folder.images(database)


@pytest.fixture
def ref(png: bytes) -> ImageRef:
    """The reference of an image."""
    return ImageRef(uuid4(), hashlib.sha256(png).hexdigest())
