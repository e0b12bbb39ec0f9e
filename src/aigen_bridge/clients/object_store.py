"""The object store of images: S3, Google, Azure or a folder, through obstore (ADR 20).

obstore's functions run in threads. Its coroutines let a thread of its own call into Python, which aborted the process
at its end in 2 of 60 runs, and after listings in 29 of 60 (obstore 0.12.1).
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.exceptions import BaseError

from aigen_bridge.clients.object_store_errors import NO_BUCKET, reason
from aigen_bridge.clients.object_store_place import Credentials, Place, open_store
from aigen_bridge.domain.errors import ImageStoreAwayError

THREADS = 16
"""Calls at a time. Further ones wait."""
DEADLINE_FACTOR = 2
"""A call may wait for a thread, and a folder on a network may hang: after so many timeouts it is given up."""
PAGE = 1000
"""Keys that one call of a listing returns."""
_STAGED = re.compile(r"#\d+\Z")
"""The end of the name of a file that obstore has not finished writing."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opened store. `folder` is the file system and the inode of its folder, if it is one."""

    store: Any
    credentials: Credentials
    folder: tuple[int, int] | None


class ObjectStore:
    """Objects by key, below the prefix of the URL. Every method raises `ImageStoreAwayError`."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self.url = place.url
        self._folder = place.folder
        self._place = place
        self._credentials = credentials
        self._deadline = place.timeout.total_seconds() * DEADLINE_FACTOR
        self._opened: _Opened | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="image-store")

    def renew(self, credentials: Credentials) -> None:
        """Uses these credentials from now on, and reads the authorities of SSL_CERT_FILE again."""
        self._credentials = credentials

    async def put(self, key: str, content: bytes) -> None:
        """Stores the object durably. It replaces one with the same key."""
        await self._call(self._put, key, content)

    async def get(self, key: str) -> bytes | None:
        """Returns the object, or None. Of an object that is larger than any image, returns no bytes."""
        return await self._call(self._get, key)

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes those of these objects that exist."""
        if not await self._call(self._delete, keys):
            for key in keys:
                await self._call(self._delete, [key])

    async def names(self, prefix: str) -> list[str]:
        """Returns the keys of all objects below a prefix. The timeout is for each page of the listing."""
        pages, names = self._list(prefix), set[str]()
        while (page := await self._call(next, pages, None)) is not None:
            names.update(page)
        return sorted(names)

    def close(self) -> None:
        """Lets the calls that are in progress end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            async with asyncio.timeout(self._deadline):
                return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except TimeoutError as error:
            raise ImageStoreAwayError(f"no answer within {self._deadline:g} s") from error
        except (BaseError, OSError) as error:
            raise ImageStoreAwayError(reason(error)) from error

    def _open(self) -> _Opened:
        """Returns the store with the present credentials. Raises OSError once if another folder has been mounted there.

        The caller has to find out whose it is before the next put.
        """
        opened, credentials, folder = self._opened, self._credentials, self._identity()
        if opened and opened.folder != folder:
            self._opened = None
            raise OSError("the folder was replaced")
        if opened is None or opened.credentials is not credentials:
            self._opened = opened = _Opened(open_store(self._place, credentials), credentials, folder)
        return opened

    def _identity(self) -> tuple[int, int] | None:
        if self._folder is None:
            return None
        found = self._folder.stat()
        return found.st_dev, found.st_ino

    def _put(self, key: str, content: bytes) -> None:
        opened = self._open()
        obstore.put(opened.store, key, content, use_multipart=False)
        if self._folder is None:
            if obstore.head(opened.store, key)["size"] != len(content):  # a sign-in page may answer a put with 200
                raise OSError("the object is not there after it was put")
            return
        _sync(self._folder, key)
        if self._identity() != opened.folder:
            raise OSError("the folder was replaced")

    def _get(self, key: str) -> bytes | None:
        store = self._open().store
        try:
            found = obstore.get(store, key)
        except FileNotFoundError as error:
            if NO_BUCKET.search(str(error)):
                raise
            return None
        return bytes(found.bytes()) if found.meta["size"] <= self._place.size_max else b""

    def _delete(self, keys: Sequence[str]) -> bool:
        """Returns False if one of several is missing: Google and Azure may then have deleted any of the others."""
        store = self._open().store
        if self._folder:
            for key in keys:
                _unlink(self._folder, key)
            return True
        try:
            obstore.delete(store, keys)
        except FileNotFoundError as error:
            if NO_BUCKET.search(str(error)):
                raise
            return len(keys) == 1
        return True

    def _list(self, prefix: str) -> Iterator[list[str]]:
        """Yields pages of keys."""
        store = self._open().store
        if self._folder is None:
            for page in obstore.list(store, prefix, chunk_size=PAGE):
                yield [found["path"] for found in page]
            return
        # Other workers may delete folders meanwhile: os.walk passes over those.
        walk = (Path(path, name) for path, _, names in os.walk(self._folder / prefix) for name in names)
        while files := list(islice(walk, PAGE)):
            yield [_STAGED.sub("", str(file.relative_to(self._folder))) for file in files]


def _sync(folder: Path, key: str) -> None:
    """Writes a file and the folders that lead to it to the disk. obstore leaves that to the operating system."""
    path = folder / key
    for each in (path, *path.relative_to(folder).parents):
        descriptor = os.open(folder / each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unlink(folder: Path, key: str) -> None:
    """Deletes a file, what a killed process has left of it, and the folders that are empty then."""
    path = folder / key
    for each in (*path.parent.glob(f"{path.name}#*"), path):
        each.unlink(missing_ok=True)
    with suppress(OSError):
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent).rmdir()
