"""Checks images off the event loop, a few at a time: decoding one may take 250 MB and a second."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

from aigen_bridge.domain.image import CheckedImage, ImageMetadata, check, read_metadata
from aigen_bridge.domain.image_data import decode_image_data

CONCURRENCY = 2


class ImageCheck:
    """Checks images in its own threads, `CONCURRENCY` at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="image")

    async def __call__(self, content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
        """Checks an image against its declared metadata and hash. A `str` is base64. Raises `ImageRejectedError`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _check, content, declared, sha256)

    async def as_found(self, content: bytes) -> CheckedImage:
        """Checks that an image without declared metadata is intact. Raises `ImageRejectedError`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _check_as_found, content)

    def close(self) -> None:
        """Stops: cancels the checks that have not started, and waits for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _check_as_found(content: bytes) -> CheckedImage:
    found = read_metadata(content) or ImageMetadata("", len(content), 0, 0)  # `check` reports what is wrong
    return check(content, found, hashlib.sha256(content).hexdigest())


def _check(content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
    return check(decode_image_data(content) if isinstance(content, str) else content, declared, sha256)
