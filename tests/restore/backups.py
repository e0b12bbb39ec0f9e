"""The ways to back up and restore, with the commands of docs/backup-and-restore.md."""

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from restore.server import DATABASE, Server, give_away

ROOT = Path(__file__).parents[2]
ARCHIVE_TIMEOUT = 10
"""Seconds after which a file of the log is archived although it is not full; 60 in the documentation."""


class Backup(Protocol):
    """One way. `doubts`: requests are lost by N8N just before the end of what it keeps."""

    name: str
    doubts: int

    def prepare(self, server: Server) -> None:
        """Configures a server that has not been started."""

    def take(self, server: Server) -> int:
        """Backs a running server up. Returns the bytes that it takes."""

    def restore(self, server: Server, at: datetime) -> None:
        """Makes a running server with the database as it was at this time, where nothing is left."""


@dataclass
class Dump:
    """deploy/backup.sh and pg_restore. The time is that of the dump."""

    folder: Path
    name: str = "dump"
    doubts: int = 0

    def prepare(self, server: Server) -> None:
        """Needs nothing."""

    def take(self, server: Server) -> int:
        """Dumps the database."""
        command = [ROOT / "deploy/backup.sh", self.folder / "dumps", DATABASE]
        done = subprocess.run(command, env=server.environment, check=True, capture_output=True, text=True)
        return Path(done.stdout.strip()).stat().st_size

    def restore(self, server: Server, at: datetime | None = None) -> None:  # noqa: ARG002 - the protocol's
        """Restores the only dump into a new cluster."""
        server.create()
        server.start()
        server.add_database()
        [dump] = (self.folder / "dumps").glob("*.dump")
        server.run("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={DATABASE}", dump)


@dataclass
class Log:
    """pg_basebackup, and the write-ahead log that deploy/postgres/archive.sh keeps."""

    folder: Path
    to_end: bool = False
    name: str = field(init=False)
    doubts: int = field(init=False)

    def __post_init__(self) -> None:
        self.name = "log, to its end" if self.to_end else "log, to a time"
        self.doubts = 3 if self.to_end else 0
        self._archive, self._base = self.folder / "archive", self.folder / "base"

    def prepare(self, server: Server) -> None:
        """Switches the archive on."""
        self._archive.mkdir()
        give_away(self._archive)
        self._archiving(server)

    def _archiving(self, server: Server) -> None:
        script = f"/bin/sh {ROOT}/deploy/postgres/archive.sh {self._archive} %p %f"
        server.configure(archive_mode="on", archive_command=script, archive_timeout=str(ARCHIVE_TIMEOUT))

    def take(self, server: Server) -> int:
        """Takes a base backup. The wheel's `pg_verifybackup` crashes, so only the restore verifies it."""
        server.run("pg_basebackup", f"--pgdata={self._base}", "--checkpoint=fast")
        return sum(path.stat().st_size for path in self._base.rglob("*") if path.is_file())

    def restore(self, server: Server, at: datetime) -> None:
        """Recovers the base backup with the log, up to this time or to the end of the archive."""
        shutil.copytree(self._base, server.data)
        give_away(server.data, *server.data.rglob("*"))
        server.configure(restore_command=f"cp {self._archive}/%f %p")
        if not self.to_end:
            server.configure(recovery_target_time=at.isoformat(), recovery_target_action="promote")
        (server.data / "recovery.signal").touch()
        give_away(server.data / "recovery.signal")
        server.start()

    def until_archived(self, server: Server, seconds: float = 60) -> None:
        """Waits until everything that is committed now is in the archive, as `archive_timeout` brings it there."""
        [(name,)] = server.read("SELECT pg_walfile_name(pg_current_wal_lsn())")
        until = time.monotonic() + seconds
        while not (self._archive / name).exists():
            assert time.monotonic() < until, f"{name} was not archived"
            time.sleep(0.1)
