"""Reports of the secrets in use: a file without secrets for each running process, which `aigen-bridge keys` reads."""

import asyncio
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import structlog

from aigen_bridge.settings.rotation import Rotation, State

SHOWN = 12
"""Hex digits of a fingerprint that are kept: enough to compare. A guess at a weak secret can be confirmed with them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that a process uses."""

    name: str
    fingerprint: str
    since: str


@dataclass(frozen=True, slots=True)
class Report:
    """The report of one running process: secrets in use, refused values, and new settings that wait for its restart."""

    process: str
    pid: int
    secrets: tuple[Secret, ...]
    problems: tuple[str, ...]
    waiting: tuple[str, ...]


class Reporter:
    """Writes the report of this process. Its file is locked while the process lives."""

    def __init__(self, file: int, process: str) -> None:
        self._file = file
        self._process = process
        self._written = b""

    def write(self, state: State) -> None:
        """Writes the report if it has changed."""
        content = json.dumps(_content(self._process, state)).encode()
        if content != self._written:
            os.pwrite(self._file, content, 0)
            os.ftruncate(self._file, len(content))
            self._written = content


@contextmanager
def reporting(process: str) -> Iterator[Reporter | None]:
    """Reports as `process` (`api`, `worker`) during the block. Yields None where no file can be written."""
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        reports()  # deletes those of processes that were killed
        file, name = tempfile.mkstemp(prefix=f"{process}-{os.getpid()}-", suffix=".json", dir=folder())
    except OSError as error:
        log.warning("secrets.not_reported", reason=str(error), action="'aigen-bridge keys' does not show this process")
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield Reporter(file, process)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(file)


@asynccontextmanager
async def rotating(rotation: Rotation, process: str) -> AsyncIterator[None]:
    """Watches the secret files during the block, and reports what `process` uses."""
    with reporting(process) as reporter:
        watching = asyncio.create_task(rotation.watch(reporter.write if reporter else lambda _: None))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})


def reports() -> list[Report]:
    """Returns the reports of the running processes, and deletes those of processes that were killed.

    Raises `PermissionError` for a folder that others can change: its files may be links to anything.
    """
    if not folder().exists():
        return []
    _refuse_others(folder())
    return [report for path in sorted(folder().glob("*.json")) if (report := _read(path)) is not None]


def folder() -> Path:
    """Returns the folder of the reports: the one that systemd makes, or one for this user."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else Path(tempfile.gettempdir()) / f"aigen-bridge-{os.getuid()}"


def _refuse_others(path: Path) -> None:
    found = path.lstat()
    if path.is_symlink() or found.st_uid not in {0, os.getuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} can be changed by others: remove it, and restart the bridge.")


def _content(process: str, state: State) -> dict[str, Any]:
    secrets = [
        {"name": name, "fingerprint": loaded.fingerprint[:SHOWN], "since": loaded.since.astimezone(UTC).isoformat()}
        for name, loaded in sorted(state.secrets.items())
    ]
    about = {"process": process, "pid": os.getpid(), "secrets": secrets}
    return about | {"problems": state.problems, "waiting": state.waiting}


def _read(path: Path) -> Report | None:
    """Reads a report. None if its process has ended, or has not written it yet."""
    try:
        with path.open() as file:
            text = file.read()
            if _is_free(file.fileno()):
                if text:  # a new file is empty, and not locked yet
                    path.unlink(missing_ok=True)
                return None
        found, _ = json.JSONDecoder().raw_decode(text)  # the end of a longer one before may follow
    except (OSError, ValueError):
        return None
    secrets = tuple(Secret(**secret) for secret in found.pop("secrets"))
    return Report(
        **{**found, "problems": tuple(found["problems"]), "waiting": tuple(found["waiting"])}, secrets=secrets
    )


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
