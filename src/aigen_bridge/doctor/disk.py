"""Room on the disks of this machine; for the database's disk only when it is on this machine, too."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from aigen_bridge.doctor.finding import Finding, ok, size, warning, wrong
from aigen_bridge.doctor.subject import Subject

LOW, FULL = 0.10, 0.02
"""Parts of a disk that are free. PostgreSQL stops when its disk is full."""


async def look_at_disk(subject: Subject) -> list[Finding]:
    """The disks of the working directory, of temporary files, and of a database that runs here."""
    return await asyncio.to_thread(
        _look, [Path.cwd(), Path(tempfile.gettempdir()), *_of_database(subject.database_url)]
    )


def _look(folders: list[Path]) -> list[Finding]:
    disks = {folder.stat().st_dev: folder for folder in reversed(folders)}
    findings = [finding for folder in reversed(disks.values()) if (finding := _short(folder))]
    if findings:
        return findings
    free = min(shutil.disk_usage(folder).free for folder in disks.values())
    return [ok("disk", f"{size(free)} are free, or more, on each disk in use here.")]


def _short(folder: Path) -> Finding | None:
    usage = shutil.disk_usage(folder)
    if usage.total == 0 or usage.free / usage.total >= LOW:
        return None
    found = f"The disk of {folder} has {size(usage.free)} free of {size(usage.total)}."
    advice = "Make room; if it is the database's, 'aigen-bridge' cannot take requests when it is full."
    return (wrong if usage.free / usage.total < FULL else warning)("disk", found, advice)


def _of_database(url: SecretStr | None) -> list[Path]:
    """The folder of its socket: of an embedded one, that is where its files are."""
    if url is None:
        return []
    hosts = parse_qs(urlsplit(url.get_secret_value()).query).get("host", [])
    return [Path(host) for host in hosts if Path(host).is_absolute() and Path(host).is_dir()]
