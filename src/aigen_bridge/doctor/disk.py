"""Checks the free space of the disks in use. The database's disk is included only if it is on this machine."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from aigen_bridge.doctor.finding import Finding, ok, size, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.url import parse

LOW, FULL = 0.10, 0.02
"""Free fractions of a disk. PostgreSQL stops when its disk is full."""


async def look_at_disk(subject: Subject) -> list[Finding]:
    """The disks of the working directory, temporary files, a local database and a folder of images have free space."""
    return await asyncio.to_thread(
        _check_folders,
        [Path.cwd(), Path(tempfile.gettempdir()), *_database_folders(subject.database_url), *_image_folders(subject)],
    )


def _check_folders(folders: list[Path]) -> list[Finding]:
    disks = {folder.stat().st_dev: folder for folder in reversed(folders)}
    findings = [finding for folder in reversed(disks.values()) if (finding := _low_space(folder))]
    if findings:
        return findings
    free = min(shutil.disk_usage(folder).free for folder in disks.values())
    return [ok("disk", f"{size(free)} or more are free on each disk in use here.")]


def _low_space(folder: Path) -> Finding | None:
    usage = shutil.disk_usage(folder)
    if usage.total == 0 or usage.free / usage.total >= LOW:
        return None
    found = f"The disk of {folder} has {size(usage.free)} free of {size(usage.total)}."
    advice = "Free some space. If the database's disk is full, the bridge cannot accept requests."
    return (wrong if usage.free / usage.total < FULL else warning)("disk", found, advice)


def _image_folders(subject: Subject) -> list[Path]:
    """Returns the folder of the image store, if it is one that is there."""
    parts = urlsplit(subject.settings.image_store.url or "") if subject.settings else urlsplit("")
    folder = Path(unquote(parts.path))
    return [folder] if parts.scheme == "file" and folder.is_dir() else []


def _database_folders(url: SecretStr | None) -> list[Path]:
    """Returns the socket folder of the database, which for an embedded one also holds its files."""
    if url is None:
        return []
    hosts = parse(url.get_secret_value()).get("host", "").split(",")
    return [Path(host) for host in hosts if Path(host).is_absolute() and Path(host).is_dir()]
