"""The object store of images: S3, Google, Azure or a folder, through obstore (ADR 20).

obstore's functions run in threads. Its coroutines let a thread of its own call into Python, which aborted the process
at its end in 2 of 60 runs, and after listings in 29 of 60 (obstore 0.12.1).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
from pydantic import SecretStr

from aigen_bridge.domain.errors import ImageStoreAwayError

THREADS = 16
"""Calls at a time. Further ones wait."""
CONNECT_TIMEOUT = "3s"
DEADLINE_FACTOR = 2
"""A call may wait for a thread, and a folder on a network may hang: after so many timeouts it is given up."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the objects are: `s3://bucket/prefix`, `gs://…`, `az://container/prefix` or `file:///folder`.

    `endpoint` is that of an S3 service other than Amazon's, or of an Azure account. `timeout` is for one object.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    timeout: timedelta = timedelta(seconds=5)

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one."""
        parts = urlsplit(self.url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Id and key. For Google, the key is the JSON of a service account. Without a key: those of the machine."""

    key_id: SecretStr | None = None
    key: SecretStr | None = None


class ObjectStore:
    """Objects by key, below the prefix of the URL. Every method raises `ImageStoreAwayError`."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self.url = place.url
        self._folder = place.folder
        self._place = place
        self._credentials = credentials
        self._deadline = place.timeout.total_seconds() * DEADLINE_FACTOR
        self._store: Any = None
        self._seen: tuple[int, int] | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="image-store")

    def renew(self, credentials: Credentials) -> None:
        """Uses these credentials from now on."""
        self._credentials, self._store = credentials, None

    async def put(self, key: str, content: bytes) -> None:
        """Stores the object durably. It replaces one with the same key."""
        await self._call(self._put, key, content)

    async def get(self, key: str) -> bytes | None:
        """Returns the object, or None."""
        return await self._call(self._get, key)

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes those of these objects that exist."""
        await self._call(self._delete, keys)

    async def names(self, prefix: str) -> list[str]:
        """Returns the keys of all objects below a prefix, in no order."""
        return await self._call(self._list, prefix)

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
            raise ImageStoreAwayError(_first_line(error)) from error

    def _opened(self) -> Any:
        if self._store is None or self._seen != self._identity():
            self._seen = self._identity()
            self._store = _open(self._place, self._credentials)
        return self._store

    def _identity(self) -> tuple[int, int] | None:
        """Returns the file system and the inode of the folder, if it is one: another one may be mounted there."""
        if self._folder is None:
            return None
        found = self._folder.stat()
        return found.st_dev, found.st_ino

    def _put(self, key: str, content: bytes) -> None:
        obstore.put(self._opened(), key, content, use_multipart=False)
        if self._folder:
            _sync(self._folder, key)
            if self._identity() != self._seen:
                raise OSError("the folder was replaced")

    def _get(self, key: str) -> bytes | None:
        store = self._opened()
        try:
            return bytes(obstore.get(store, key).bytes())
        except FileNotFoundError:
            return None

    def _delete(self, keys: Sequence[str]) -> None:
        store = self._opened()
        if self._folder is None:
            obstore.delete(store, keys)
            return
        for key in keys:  # a folder refuses what does not exist, and leaves the rest
            try:
                obstore.delete(store, key)
            except FileNotFoundError:
                continue

    def _list(self, prefix: str) -> list[str]:
        return [found["path"] for page in obstore.list(self._opened(), prefix, chunk_size=1000) for found in page]


def _open(place: Place, credentials: Credentials) -> Any:
    if place.folder:
        return LocalStore(place.folder, automatic_cleanup=True)
    parts = urlsplit(place.url)
    options: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "client_options": {
            "timeout": f"{place.timeout.total_seconds():g}s",
            "connect_timeout": CONNECT_TIMEOUT,
            "allow_http": (place.endpoint or "").startswith("http:"),
        },
        "retry_config": {"max_retries": 0, "retry_timeout": place.timeout},
    }
    make = {"s3": _s3, "gs": _google, "az": _azure}[parts.scheme]
    return make(parts.netloc, place, credentials, options)


def _s3(bucket: str, place: Place, credentials: Credentials, options: dict[str, Any]) -> Any:
    return S3Store(
        bucket,
        endpoint=place.endpoint,
        region=place.region,
        access_key_id=_plain(credentials.key_id),
        secret_access_key=_plain(credentials.key),
        virtual_hosted_style_request=place.endpoint is None,
        **options,
    )


def _google(bucket: str, _: Place, credentials: Credentials, options: dict[str, Any]) -> Any:
    return GCSStore(bucket, service_account_key=_plain(credentials.key), **options)


def _azure(container: str, place: Place, credentials: Credentials, options: dict[str, Any]) -> Any:
    return AzureStore(
        container,
        endpoint=place.endpoint,
        account_name=_plain(credentials.key_id),
        account_key=_plain(credentials.key),
        **options,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _sync(folder: Path, key: str) -> None:
    """Writes a file and the folders that lead to it to the disk. obstore leaves that to the operating system."""
    path = folder / key
    for each in (path, *path.relative_to(folder).parents):
        descriptor = os.open(folder / each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _first_line(error: Exception) -> str:
    """Returns what happened, without the path and without the error as Rust shows it for debugging."""
    line = str(error).partition("\n")[0].rpartition(" - ")[2].partition(": <?xml")[0]
    return f"{type(error).__name__}: {line[:300]}"
