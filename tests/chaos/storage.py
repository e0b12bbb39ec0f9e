"""The image store of a run, and what is in it at the end."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from aigen_bridge.domain.image import parse_key
from chaos.schedule import Storage
from image_stores import Folder
from s3_server import S3Server

ImagesAt = Folder | S3Server


def storage_of(kind: Storage, home: Path) -> ImagesAt | None:
    """Returns the place outside of PostgreSQL in which a run keeps its images."""
    match kind:
        case Storage.FILE:
            return Folder(home / "images")
        case Storage.S3:
            server = S3Server(home / "s3")
            server.make_bucket()
            return server
    return None


@contextmanager
def unmounted(folder: Folder) -> Iterator[None]:
    """Puts an empty folder in the place of this one while the block runs."""
    with folder.away():
        folder.path.mkdir()
        yield
        shutil.rmtree(folder.path)


def hashes(storage: ImagesAt) -> Mapping[str, str]:
    """Returns the SHA-256 of each object's bytes, by its key."""
    return {key: hashlib.sha256((storage.path / key).read_bytes()).hexdigest() for key in storage.keys()}


def owner_of(key: str) -> str:
    """Returns the request that an object belongs to, or its key."""
    ref = parse_key(key)
    return str(ref.request_id) if ref else key
