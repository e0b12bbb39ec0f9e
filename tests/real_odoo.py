"""A real Odoo with the addon and its own database.

`ODOO_BIN` is the command that starts Odoo 18, and `ODOO_BIN_19` the one for 19. Each version whose command is set is
tested; tests skip when none is.
"""

import ast
import json
import os
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from aigen_bridge.sockets import bind
from stage import KEYS

ADDONS = (Path(__file__).parent.parent / "addons", Path(__file__).parent / "odoo" / "addons")
MANIFESTS = {path.parent.name: ast.literal_eval(path.read_text()) for path in ADDONS[0].glob("*/__manifest__.py")}
COMMANDS = {"18": "ODOO_BIN", "19": "ODOO_BIN_19"}
"""By version, the environment variable that names the command."""
LOGS = Path(__file__).parent.parent / ".e2e"
"""Where the logs of Odoo are kept for the analysis of failed tests."""
ROLE = "odoo_e2e"
"""Odoo refuses to run as the role `postgres`."""
BRIDGE_LOGIN = "aigen-bridge"
DATABASE, COPY = "odoo", "odoo_copy"
INSTALL_SECONDS, START_SECONDS, STOP_SECONDS = 900, 180, 20
PEOPLE = """
def person(login, name, group):
    user = env["res.users"].with_context(no_reset_password=True).create({
        "name": name, "login": login, "password": login,
    })
    env.ref(group)._aigen_add_users(user.ids)
    user.odoobot_state = "disabled"  # on a phone, its greeting would cover the page
person("ann", "Ann Example", "aigen_image.group_user")
person("dan", "Dan Example", "aigen_image.group_user")
person("zoe", "Zoe Example", "aigen_image.group_user")
person("mia", "Mia Example", "aigen_image.group_manager")
model = env["aigen.image.model"].create({"name": "Editorial photo", "steps": 28, "cfg": 3.5})
env["aigen.image.model"].create({"name": "Watercolour", "steps": 24, "cfg": 4})
key = env["res.users.apikeys"].with_user(env.ref("aigen_image.user_bridge")).sudo()._generate("rpc", "e2e", None)
env.cr.commit()
print("KEY=" + key)
"""


def odoo_versions() -> list[str]:
    """Returns the versions that are tested: those whose command is set, or 18, whose tests then skip with a reason."""
    return [version for version, name in COMMANDS.items() if os.environ.get(name)] or ["18"]


def odoo_command(version: str = "18") -> list[str]:
    """Returns the command that starts this version of Odoo. Skips the test when it is not set."""
    name = COMMANDS[version]
    command = shlex.split(os.environ.get(name, ""))
    if not command:
        pytest.skip(f"{name} is not set: no real Odoo {version} here (give the target {name}=/path/to/odoo-bin)")
    return command


@dataclass(frozen=True)
class RealOdoo:
    """A running Odoo, and the key of the bridge's user."""

    url: str
    key: str
    options: tuple[str, ...]
    copy: tuple[str, ...]
    """Options for a copy of the database that is not served; the addon's own tests run on it."""
    database_url: str
    server: "Server" = field(repr=False)
    database: str = DATABASE
    uids: dict[str, int] = field(default_factory=dict, repr=False)
    """The ids of the people who logged in."""

    @property
    def version(self) -> str:
        """The major version: `18` or `19`."""
        return self.server.version

    @property
    def installed(self) -> set[str]:
        """The names of the installed modules."""
        rows = self.as_person("admin", "ir.module.module", "search_read", [("state", "=", "installed")], ["name"])
        return {row["name"] for row in rows}

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.server.log

    @property
    def connection(self) -> dict[str, str]:
        """The section `odoo` of the settings of a bridge."""
        return {"url": self.url, "database": self.database, "login": BRIDGE_LOGIN, "api_key": self.key}

    def configure(self, url: str, key: str = KEYS["odoo"], ops_key: str = KEYS["ops"]) -> None:
        """Tells the addon where the bridge is, as an administrator does in the settings."""
        for name, value in (("url", url), ("key", key), ("ops_key", ops_key)):
            self.as_person("admin", "ir.config_parameter", "set_param", f"aigen_image.bridge_{name}", value)

    def shell(self, code: str) -> str:
        """Runs Python code in `odoo-bin shell` and returns its output."""
        return _run(self.version, "shell", *self.options, "--no-http", "--log-level=error", stdin=code)

    def rpc(self, service: str, method: str, *args: Any) -> Any:
        """Makes a JSON-RPC call and returns the whole response."""
        params = {"service": service, "method": method, "args": args}
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": params, "id": 1}).encode()
        request = urllib.request.Request(f"{self.url}/jsonrpc", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
            return json.load(answer)

    def as_person(self, login: str, model: str, method: str, *args: Any) -> Any:
        """Returns the result of a method for a person whose password equals the login."""
        if login not in self.uids:  # a login by password costs Odoo 0.6 s
            self.uids[login] = self.rpc("common", "login", self.database, login, login)["result"]
        uid = self.uids[login]
        answer = self.rpc("object", "execute_kw", self.database, uid, login, model, method, list(args))
        assert "error" not in answer, answer
        return answer.get("result")


def _run(version: str, *arguments: str, stdin: str = "", seconds: float = INSTALL_SECONDS) -> str:
    done = subprocess.run(
        [*odoo_command(version), *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def make_database(postgres_url: str) -> None:
    """Creates an empty database and a role for Odoo."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        for name in (DATABASE, COPY):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(ROLE)))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD 'odoo'").format(sql.Identifier(ROLE)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'unicode'").format(
                sql.Identifier(DATABASE), sql.Identifier(ROLE)
            )
        )


def copy_database(postgres_url: str, folder: Path) -> None:
    """Copies the database and its files."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        names = [sql.Identifier(name) for name in (COPY, ROLE, DATABASE)]
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(*names))
    files = folder / "data" / "filestore"
    shutil.copytree(files / DATABASE, files / COPY)


def options_for(database: str, postgres_url: str, folder: Path) -> tuple[str, ...]:
    """Returns Odoo's options for that database, with files below `folder`."""
    parts = urlsplit(postgres_url)
    host = parts.hostname or parse_qs(parts.query).get("host", [""])[0]
    return (
        f"--db_host={host}",
        f"--db_port={parts.port or 5432}",
        f"--db_user={ROLE}",
        "--db_password=odoo",
        f"--database={database}",
        f"--data-dir={folder / 'data'}",
        f"--addons-path={','.join(map(str, ADDONS))}",
        "--config=/dev/null",
    )


def _dependencies() -> list[str]:
    """Returns what the addons depend on: with these, they install themselves. Odoo leaves out what it does not have."""
    return sorted({name for manifest in MANIFESTS.values() for name in manifest["depends"]})


@contextmanager
def running_odoo(postgres_url: str, folder: Path, version: str = "18") -> Iterator[RealOdoo]:
    """Installs the addons, creates people, and serves until the block ends."""
    make_database(postgres_url)
    options, copy = (options_for(name, postgres_url, folder) for name in (DATABASE, COPY))
    init = f"--init={','.join(['aigen_image_dark', *_dependencies()])}"
    _run(version, *options, init, "--stop-after-init", "--no-http", "--without-demo=True")
    copy_database(postgres_url, folder)
    output = _run(version, "shell", *options, "--no-http", "--log-level=error", stdin=PEOPLE)
    key = output.partition("KEY=")[2].split()[0]
    with bind("127.0.0.1", 0) as sock:
        server = Server(options, sock.getsockname()[1], version)
    server.log.parent.mkdir(exist_ok=True)
    server.log.write_text("")
    server.start()
    try:
        url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{DATABASE}"))
        yield RealOdoo(server.url, key, options, copy, url, server)
    finally:
        server.stop()


@dataclass
class Server:
    """Odoo's server process. It can be stopped and started again at the same address."""

    options: tuple[str, ...]
    port: int
    version: str = "18"
    process: subprocess.Popen[bytes] | None = None
    mode: tuple[str, ...] = ("--workers=0",)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file with what the server says."""
        return LOGS / f"odoo-{self.version}.log"

    def start(self) -> None:
        """Starts Odoo and waits until it serves."""
        own = ("--http-interface=127.0.0.1", f"--http-port={self.port}", "--max-cron-threads=1", *self.mode)
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*odoo_command(self.version), *self.options, *own], stdout=log, stderr=log)
        try:
            self._until_healthy()
        except BaseException:
            self.stop()
            raise

    def _until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/web/health", timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise AssertionError(f"Odoo did not start in {START_SECONDS} s:\n{self.log.read_text()[-4000:]}")

    def stop(self) -> None:
        """Stops Odoo with SIGTERM, or SIGKILL when it takes too long."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
