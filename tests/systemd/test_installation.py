"""docs/systemd.md, followed block by block in a folder that stands for `/`, as far as that goes without systemd.

systemd's own programs are replaced by ones that record their arguments. The units' commands are then run with the
settings and secrets that the page has put in place.
"""

import asyncio
import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import httpx
import psycopg
import pytest

from ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/systemd.md").read_text()
BLOCKS = [
    (found[1], found[2]) for found in re.finditer(r"^## ([^\n]+)$|```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
]
RECORDED = ("systemctl", "systemd-sysusers", "chgrp", "nginx")
ABSOLUTE = re.compile(r"(?<![\w./-])/(?=opt/|etc/|usr/local/|var/lib/aigen)")

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]


def blocks(title: str) -> list[str]:
    """The commands of one section of the page."""
    sections: dict[str, list[str]] = {}
    for heading, commands in BLOCKS:
        if heading:
            current = sections.setdefault(heading, [])
        else:
            current.append(commands)
    return sections[title]


class Server:
    """A folder that stands for the server's `/`, with a copy of the repository."""

    def __init__(self, root: Path, database_url: str) -> None:
        self.root = root
        self.database_url = database_url
        self.repository = root / "repository"
        ignored = shutil.ignore_patterns(".*", "dist", "node_modules", "__pycache__")
        shutil.copytree(ROOT, self.repository, ignore=ignored)
        programs = root / "programs"
        programs.mkdir()
        for name in RECORDED:
            (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {root}/recorded\n')
            (programs / name).chmod(0o755)
        (root / "etc/systemd/system").mkdir(parents=True)
        (root / "etc/nginx/conf.d").mkdir(parents=True)
        (root / "usr/local/bin").mkdir(parents=True)
        self._path = f"{programs}:{os.environ['PATH']}"

    def follow(self, title: str) -> None:
        """Runs the commands of a section, with `/` moved into the folder."""
        for commands in blocks(title):
            text = ABSOLUTE.sub(f"{self.root}/", commands)
            subprocess.run(
                ["/bin/bash", "-eu", "-c", text], cwd=self.repository, env=os.environ | {"PATH": self._path}, check=True
            )

    @property
    def recorded(self) -> str:
        return (self.root / "recorded").read_text()

    def settings(self) -> dict[str, str]:
        """The environment that systemd gives the units: bridge.env, and the folder of the secrets."""
        lines = (self.root / "etc/aigen-bridge/bridge.env").read_text().splitlines()
        given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        places = {
            "AIGEN_SECRETS_DIR": str(self.root / "etc/aigen-bridge/secrets"),
            "RUNTIME_DIRECTORY": str(self.root / "run"),
        }
        return {"PATH": os.environ["PATH"], **given, **places}

    def migrate(self) -> None:
        """Runs the command of the unit that migrates the database."""
        command = self.command("aigen-bridge-migrate.service")
        subprocess.run(command, env=self.settings(), check=True, cwd=self.root)

    def back_up(self) -> None:
        """Runs the command of the unit that dumps the database, as its settings name it."""
        settings = psycopg.conninfo.conninfo_to_dict(self.database_url)
        lines = ["[aigen]", *(f"{name}={value}" for name, value in settings.items())]
        (self.root / "etc/aigen-bridge/pg_service.conf").write_text("\n".join(lines))
        environment = {
            "PATH": f"{pg_programs(self.database_url)}:{os.environ['PATH']}",
            "PGSERVICEFILE": str(self.root / "etc/aigen-bridge/pg_service.conf"),
        }
        subprocess.run(self.command("aigen-bridge-backup.service"), env=environment, check=True)
        [dump] = (self.root / "var/lib/aigen-bridge-backup").iterdir()
        assert dump.stat().st_size > 10_000

    def command(self, unit: str) -> list[str]:
        """The command of a unit that is installed."""
        text = (self.root / "etc/systemd/system" / unit).read_text()
        found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert found
        return ABSOLUTE.sub(f"{self.root}/", found[1]).split()


def pg_programs(url: str) -> Path:
    """The folder of the server's programs."""
    with closing(psycopg.connect(url)) as connection:
        [row] = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchall()
    return Path(row[0])


async def test_the_page_leads_to_a_bridge_that_is_ready(empty_database_url: str, tmp_path: Path) -> None:
    server = Server(tmp_path, empty_database_url)
    for title in ("Install", "Settings and secrets"):
        server.follow(title)
    secrets = tmp_path / "etc/aigen-bridge/secrets"
    (secrets / "AIGEN_DATABASE_URL").write_text(empty_database_url)
    (secrets / "AIGEN_ODOO__API_KEY").write_text("key-of-the-bot-user")
    for title in ("Start", "nginx in front"):
        server.follow(title)

    server.migrate()
    api = server.command("aigen-bridge-api.service")
    port = str(free_port())
    api[api.index("--port") + 1] = port
    running = [
        await asyncio.create_subprocess_exec(*command, env=server.settings(), cwd=tmp_path)
        for command in (api, server.command("aigen-bridge-worker@.service"))
    ]
    try:
        await _until_ready(f"http://127.0.0.1:{port}/health/ready")
        shown = await _until_two_kinds([api[0], "keys"], server.settings())
    finally:
        for process in running:
            process.terminate()
        assert [await process.wait() for process in running] == [0, 0]
    assert "Odoo default: key" in shown

    server.follow("New secrets")
    modes = {path.name[:6] == "AIGEN_": path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    assert modes == {True: 0o640, False: 0o600}
    server.follow("Backup")
    server.back_up()
    server.follow("Upgrade")
    server.migrate()
    for expected in ("systemd-sysusers", "systemctl enable --now aigen-bridge-migrate.service", "nginx -t", "chgrp"):
        assert expected in server.recorded
    assert {path.name for path in (tmp_path / "etc/systemd/system").iterdir()} == {
        "aigen-bridge-.service.d",
        "aigen-bridge-api.service",
        "aigen-bridge-backup.service",
        "aigen-bridge-backup.timer",
        "aigen-bridge-migrate.service",
        "aigen-bridge-worker@.service",
    }


async def _until_ready(url: str) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)


async def _until_two_kinds(command: list[str], environment: dict[str, str]) -> str:
    """Until `keys` shows the API and the worker."""
    async with asyncio.timeout(60):
        while True:
            done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
            if "api " in done.stdout and "worker " in done.stdout:
                return done.stdout
            await asyncio.sleep(0.5)


def test_every_block_of_the_page_is_followed() -> None:
    titles = [heading for heading, _ in BLOCKS if heading]
    assert titles == ["Install", "Settings and secrets", "Start", "nginx in front", "New secrets", "Backup", "Upgrade"]
