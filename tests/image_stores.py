"""An image store in a folder, for tests: it shows that images can be kept outside of PostgreSQL."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.image import ImageRef


class FileImages:
    """Keeps each image in a file of its own. The store is away while its folder is.

    `refusals` counts the calls that found it away.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refusals = 0

    async def put(self, ref: ImageRef, content: bytes) -> None:
        """As `ImageStore.put`. The file is complete before it has its name."""
        await asyncio.to_thread(self._put, ref, content)

    async def get(self, ref: ImageRef) -> bytes | None:
        """As `ImageStore.get`."""
        return await asyncio.to_thread(self._get, ref)

    async def delete(self, refs: Sequence[ImageRef]) -> None:
        """As `ImageStore.delete`."""
        await asyncio.to_thread(self._delete, refs)

    async def exists(self, ref: ImageRef) -> bool:
        """As `ImageStore.exists`."""
        return await asyncio.to_thread(self._exists, ref)

    def names(self) -> set[str]:
        """The files that are there."""
        return {path.name for path in self.folder.iterdir()}

    def name(self, ref: ImageRef) -> str:
        """The name of an image's file."""
        return f"{ref.request_id}-{ref.sha256}"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the folder away while the block runs."""
        elsewhere = self.folder.rename(self.folder.with_name("elsewhere"))
        try:
            yield
        finally:
            elsewhere.rename(self.folder)

    def _put(self, ref: ImageRef, content: bytes) -> None:
        with self._translated():
            unfinished = self.folder / f"{uuid4()}.unfinished"
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self.folder / self.name(ref))

    def _get(self, ref: ImageRef) -> bytes | None:
        with self._translated():
            path = self.folder / self.name(ref)
            return path.read_bytes() if path.exists() else None

    def _delete(self, refs: Sequence[ImageRef]) -> None:
        with self._translated():
            for ref in refs:
                (self.folder / self.name(ref)).unlink(missing_ok=True)

    def _exists(self, ref: ImageRef) -> bool:
        with self._translated():
            return (self.folder / self.name(ref)).exists()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            self.folder.stat()
            yield
        except OSError as error:
            self.refusals += 1
            raise StoreUnavailableError("The image store did not answer.", type(error).__name__) from error
