"""The object store of images: S3, Google, Azure or a folder, through obstore (ADR 20).

obstore's functions run in threads. Its coroutines let a thread of its own call into Python, which aborted the process
at its end in 2 of 60 runs, and after listings in 29 of 60 (obstore 0.12.1).
"""

import asyncio
import errno
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store
from pydantic import SecretStr

from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import ODOO_IMAGE_MAX
from aigen_bridge.network import is_this_machine

THREADS = 16
"""Calls at a time. Further ones wait."""
CONNECT_TIMEOUT = "3s"
RETRIES, BACKOFF = 2, {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=0.5), "base": 2}
"""After an answer such as 503, or a broken connection. None begins once the timeout has passed."""
DEADLINE_FACTOR = 2
"""A call may wait for a thread, and a folder on a network may hang: after so many timeouts it is given up."""
PAGE = 1000
"""Keys that one call of a listing returns."""
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
"""In the text of an error: S3's, Google's and Azure's code for a bucket or a container that does not exist."""
_STAGED = re.compile(r"#\d+\Z")
"""The end of the name of a file that obstore has not finished writing."""
_CAUSE = re.compile(r"<Code>(\w{1,50})|InvalidCertificate\(\s*(\w+)|(dns error|TimedOut)|kind: (\w+)")
"""In the text of an error: what S3 says, and what the operating system or the TLS library says."""
_OS_ERROR = re.compile(r"os error (\d+)|\[Errno (\d+)\]")
"""In the reason: the number of an error of the operating system, in Rust's words or in Python's."""
_OS_ADVICE = {
    errno.ENOSPC: "Free some space on the disk of the folder.",
    errno.ENOTDIR: "AIGEN_IMAGE_STORE__URL has to name a folder, and this is a file.",
} | dict.fromkeys(
    (errno.EACCES, errno.EPERM, errno.EROFS),
    "Let the user that runs the bridge read and write in the folder (with systemd: ReadWritePaths=).",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """The location of the objects: `s3://bucket/prefix`, `gs://…`, `az://container/prefix` or `file:///folder`.

    `endpoint` is that of an S3 service other than Amazon's, or of an Azure account. `timeout` is for one object, and
    `size_max` the most bytes that are read of one.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    timeout: timedelta = timedelta(seconds=5)
    size_max: int = 2 * ODOO_IMAGE_MAX

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
            raise ImageStoreAwayError(_reason(error)) from error

    def _open(self) -> _Opened:
        """Returns the store with the present credentials. Raises OSError once if another folder has been mounted there.

        The caller has to find out whose it is before the next put.
        """
        opened, credentials, folder = self._opened, self._credentials, self._identity()
        if opened and opened.folder != folder:
            self._opened = None
            raise OSError("the folder was replaced")
        if opened is None or opened.credentials is not credentials:
            self._opened = opened = _Opened(_open(self._place, credentials), credentials, folder)
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
            if _NO_BUCKET.search(str(error)):
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
            if _NO_BUCKET.search(str(error)):
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


def advise(error: ImageStoreAwayError) -> str:
    """Returns what an operator can do about a store that is away."""
    found = _OS_ERROR.search(error.reason)
    if found and (advice := _OS_ADVICE.get(int(found[1] or found[2]))):
        return advice
    match error.__cause__:
        case PermissionDeniedError():
            return (
                "The store refuses the key (403): check AIGEN_IMAGE_STORE__ACCESS_KEY_ID and __SECRET_ACCESS_KEY, the "
                "clock of this machine, and that the key may list the bucket, and get, put and delete its objects."
            )
        case UnauthenticatedError():
            return "The store does not know the key (401): check the key, and that it has not expired."
        case FileNotFoundError():
            return "Create the bucket or the folder, or correct AIGEN_IMAGE_STORE__URL. If it is a mount, mount it."
        case TimeoutError():
            return (
                "Check that the store runs and can be reached from here: address, proxy, firewall. A slow store needs "
                "a longer AIGEN_IMAGE_STORE__TIMEOUT."
            )
    return (
        "Check AIGEN_IMAGE_STORE__ENDPOINT, __REGION and the key, that the store runs and can be reached from here, "
        "and that its certificate is trusted."
    )


def _open(place: Place, credentials: Credentials) -> Any:
    if place.folder:
        return LocalStore(place.folder)
    parts = urlsplit(place.url)
    options: dict[str, Any] = {
        "prefix": unquote(parts.path).strip("/") or None,
        "client_options": {
            "timeout": f"{place.timeout.total_seconds():g}s",
            "connect_timeout": CONNECT_TIMEOUT,
            "allow_http": (place.endpoint or "").startswith("http:"),
            **_proxy(place.endpoint),
        },
        "retry_config": {"max_retries": RETRIES, "retry_timeout": place.timeout, "backoff": BACKOFF},
    }
    given = {"s3": _s3, "gs": _google, "az": _azure}[parts.scheme](place, credentials)
    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[parts.scheme]
    return kind(parts.netloc, **{name: value for name, value in (options | given).items() if value is not None})


def _proxy(endpoint: str | None) -> dict[str, str]:
    """Returns the options with which this machine itself is called: without the proxy of HTTP_PROXY (see `network`)."""
    host = urlsplit(endpoint or "").hostname or ""
    return {"proxy_url": str(endpoint), "proxy_excludes": host} if is_this_machine(host) else {}


def _s3(place: Place, credentials: Credentials) -> dict[str, Any]:
    return {
        "endpoint": place.endpoint,
        "region": place.region,
        "access_key_id": _plain(credentials.key_id),
        "secret_access_key": _plain(credentials.key),
        "virtual_hosted_style_request": place.endpoint is None,
    }


def _google(_: Place, credentials: Credentials) -> dict[str, Any]:
    return {"service_account_key": _plain(credentials.key)}


def _azure(place: Place, credentials: Credentials) -> dict[str, Any]:
    return {
        "endpoint": place.endpoint,
        "account_name": _plain(credentials.key_id),
        "account_key": _plain(credentials.key),
    }


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


def _unlink(folder: Path, key: str) -> None:
    """Deletes a file, what a killed process has left of it, and the folders that are empty then."""
    path = folder / key
    for each in (*path.parent.glob(f"{path.name}#*"), path):
        each.unlink(missing_ok=True)
    with suppress(OSError):
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent).rmdir()


def _reason(error: Exception) -> str:
    """Returns what happened and its cause, without the path and without the error as Rust shows it for debugging."""
    line, _, debug = str(error).partition("\n\nDebug source:")
    what = line.partition("\n")[0].rpartition(" - ")[2].partition(": <?xml")[0][:300]
    causes = ["".join(found) for found in _CAUSE.findall(debug)]
    return f"{type(error).__name__}: {what}{f' ({causes[-1]})' if causes else ''}"
