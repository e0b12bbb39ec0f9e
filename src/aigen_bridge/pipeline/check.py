"""Proving images, a few at a time and off the event loop: decoding one may take 250 MB and a second."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pybase64

from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image import CheckedImage, ImageMetadata, check, read_metadata

AT_ONCE = 2


class ImageCheck:
    """Checks images in threads of its own, `AT_ONCE` at a time; the others wait."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="image")

    async def __call__(self, content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
        """The image, proven; a text is base64. Raises `ImageRejectedError`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _check, content, declared, sha256)

    async def as_found(self, content: bytes) -> CheckedImage:
        """The image, whole and in one of our formats; nothing is declared about it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _check_as_found, content)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _check_as_found(content: bytes) -> CheckedImage:
    found = read_metadata(content) or ImageMetadata("", len(content), 0, 0)  # `check` says what is wrong
    return check(content, found, hashlib.sha256(content).hexdigest())


def _check(content: bytes | str, declared: ImageMetadata, sha256: str) -> CheckedImage:
    if isinstance(content, str):
        try:
            content = pybase64.b64decode(content, validate=True)
        except ValueError as error:
            raise ImageRejectedError((f"imageData is not base64: {error}.",)) from error
    return check(content, declared, sha256)
