"""A real S3 server (rclone, which tests/s3/install.sh installs) that can be killed, paused and filled."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_place import Credentials, Place
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import OWNER, ObjectImages
from ports import free_port

RCLONE = Path(__file__).parents[1] / ".aigen/s3/rclone"
KEY_ID, KEY = "AKIATESTKEY123456789", "secret-of-the-image-store"
BUCKET, PREFIX = "pictures", "an installation/ü"
TIMEOUT = timedelta(seconds=1)
READY_SECONDS = 30


class S3Server:
    """A server on loopback whose buckets are the folders in `folder`."""

    def __init__(self, folder: Path, *, tls: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.folder = folder
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """Starts the server, with `environment`."""
        options = ["--addr", f"127.0.0.1:{self.port}", "--config", "", *self._tls]
        return [str(RCLONE), "serve", "s3", *options, str(self.folder)]

    @property
    def environment(self) -> dict[str, str]:
        """Has the key, which a command line would show."""
        return {"RCLONE_AUTH_KEY": f'"{KEY_ID},{KEY}"'}

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The section of the settings that leads here."""
        key = {"access_key_id": KEY_ID, "secret_access_key": KEY}
        timeout = f"{TIMEOUT.total_seconds():g}s"
        return {"image_store": {"url": f"s3://{BUCKET}/{PREFIX}", "endpoint": self.endpoint, "timeout": timeout, **key}}

    @property
    def path(self) -> Path:
        """The folder with the image store's objects."""
        return self.folder / BUCKET / PREFIX

    @property
    def pid(self) -> int:
        """The id of the running server."""
        assert self._process, "it does not run"
        return self._process.pid

    def make_bucket(self) -> None:
        """Makes the bucket unless it exists."""
        (self.folder / BUCKET).mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts the server and waits until it listens."""
        self.make_bucket()
        self._process = subprocess.Popen(
            self.command, env=os.environ | self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + READY_SECONDS
        while not self._listens():
            assert time.monotonic() < deadline, "rclone does not listen"
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, number: signal.Signals) -> None:
        """Sends a signal: SIGSTOP pauses the server, SIGCONT resumes it."""
        if self._process:
            self._process.send_signal(number)

    def look_again(self) -> None:
        """Makes the server notice what has been changed in its folder."""
        self.send(signal.SIGHUP)
        time.sleep(0.1)

    def kill(self) -> None:
        """Kills the server."""
        if self._process:
            self.send(signal.SIGKILL)
            self._process.wait()

    def images(self, database: Database) -> ObjectImages:
        """The image store with this server."""
        return ObjectImages(database, self.objects())

    def objects(self, *, bucket: str = BUCKET, key_id: str = KEY_ID, key: str = KEY, **more: Any) -> ObjectStore:
        """The object store alone."""
        return objects(self.endpoint, bucket=bucket, key_id=key_id, key=key, **more)

    def keys(self) -> set[str]:
        """The keys of the images that are there."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)) for path in files} - {OWNER}

    def file(self, ref: ImageRef) -> Path:
        """The file of an image."""
        return self.path / ref.key

    @contextmanager
    def away(self) -> Iterator[None]:
        """Kills the server, and starts it at the end."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Accepts connections while the block runs, and answers nothing."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


def objects(endpoint: str, *, bucket: str = BUCKET, key_id: str = KEY_ID, key: str = KEY, **more: Any) -> ObjectStore:
    """An object store at this S3 service."""
    place = Place(f"s3://{bucket}/{PREFIX}", endpoint, **{"timeout": TIMEOUT, **more})
    return ObjectStore(place, Credentials(SecretStr(key_id), SecretStr(key)))


@contextmanager
def serving(folder: Path, *, tls: Sequence[str] = ()) -> Iterator[S3Server]:
    """Serves the folder. Skips the test where rclone is not installed."""
    if not RCLONE.exists():
        pytest.skip("needs rclone: tests/s3/install.sh")
    server = S3Server(folder, tls=tls)
    server.start()
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.kill()
