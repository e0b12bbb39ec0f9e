"""An image store in a folder, for tests of what happens when images are kept outside of PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aigen_bridge.clients.object_store import Credentials, ObjectStore, Place
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import OWNER, ObjectImages


class Folder:
    """A folder with the image store's objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.mkdir()

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    @property
    def settings(self) -> dict[str, Any]:
        """The section of the settings that leads here."""
        return {"image_store": {"url": self.url}}

    def images(self, database: Database) -> ObjectImages:
        """The image store with this folder."""
        return ObjectImages(database, self.objects())

    def objects(self) -> ObjectStore:
        """The object store alone."""
        return ObjectStore(Place(self.url), Credentials())

    def keys(self) -> set[str]:
        """The keys of the images that are there."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)) for path in files} - {OWNER}

    def file(self, ref: ImageRef) -> Path:
        """The file of an image."""
        return self.path / ref.key

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the folder away while the block runs."""
        elsewhere = self.path.rename(self.path.with_name("elsewhere"))
        try:
            yield
        finally:
            elsewhere.rename(self.path)
