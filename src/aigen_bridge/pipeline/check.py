"""Checks images off the event loop, a few at a time: decoding one may take 250 MB and a second."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from aigen_bridge.domain.image import CheckedImage, ImageMetadata, check, read_metadata
from aigen_bridge.domain.image_data import decode_image_data
from aigen_bridge.domain.marks import find_marks
from aigen_bridge.domain.provenance import Mark, Provenance

CONCURRENCY = 2

Validate = Callable[[bytes, str], bool | None]
"""Says whether the C2PA manifest of an image of this format is valid; None if nothing can tell."""


class ImageCheck:
    """Checks images and reads their marks in its own threads, `CONCURRENCY` at a time."""

    def __init__(self, validate: Validate = lambda _content, _format: None) -> None:
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="image")
        self._validate = validate

    async def __call__(self, content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
        """Checks an image against its declared metadata and hash. A `str` is base64. Raises `ImageRejectedError`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, content, declared, sha256)

    async def as_found(self, content: bytes, *, reads_marks: bool = True) -> CheckedImage:
        """Checks that an image without declared metadata is intact. Raises `ImageRejectedError`."""
        check = self._check_as_found if reads_marks else _check_as_found
        return await asyncio.get_running_loop().run_in_executor(self._threads, check, content)

    def close(self) -> None:
        """Stops: cancels the checks that have not started, and waits for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check(self, content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
        image = check(decode_image_data(content) if isinstance(content, str) else content, declared, sha256)
        return replace(image, provenance=self._provenance(image))

    def _check_as_found(self, content: bytes) -> CheckedImage:
        image = _check_as_found(content)
        return replace(image, provenance=self._provenance(image))

    def _provenance(self, image: CheckedImage) -> Provenance:
        found = find_marks(image.content, image.described.format)
        valid = self._validate(image.content, image.described.format) if Mark.C2PA in found else None
        return Provenance(found, valid, None, image.described.sha256)


def _check_as_found(content: bytes) -> CheckedImage:
    found = read_metadata(content) or ImageMetadata("", len(content), 0, 0)  # `check` reports what is wrong
    return check(content, found, hashlib.sha256(content).hexdigest())
