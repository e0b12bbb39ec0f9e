"""Three PostgreSQL nodes under Patroni, and etcd, each in a network namespace on one bridge."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from aigen_bridge.embedded import postgres as embedded

ENVIRONMENT = Path(__file__).parents[2] / ".tools" / "ha" / "bin"
PASSWORD = "replicated"
READING = "+dac_read_search"
USER = (
    "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
    f"--inh-caps={READING}", f"--ambient-caps={READING}",
)  # fmt: skip
"""PostgreSQL does not run as root. It may read everything, because Python and the programs may lie in a home folder."""
NETWORK, TAG = "10.232.7", "agha"
HERE, ETCD = f"{NETWORK}.1", f"{NETWORK}.9"
TTL, LOOP, RETRY = 20, 5, 5
"""Seconds. Patroni promotes a standby when the primary has not renewed its lock for TTL."""
READY_SECONDS = 120.0


class CannotRunError(Exception):
    """This machine cannot run the cluster, and why."""


def run(*command: str) -> str:
    """Runs a command to its end. Raises `RuntimeError` with its output unless it succeeds."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def _inside(namespace: str) -> list[str]:
    return ["ip", "netns", "exec", namespace]


@dataclass
class Node:
    """A node: a namespace with Patroni and PostgreSQL in it."""

    number: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name of the node, and of its namespace."""
        return f"{TAG}{self.number}"

    @property
    def host(self) -> str:
        """The node's address."""
        return f"{NETWORK}.{10 + self.number}"

    def start(self) -> None:
        """Starts Patroni, which starts PostgreSQL."""
        command = [*USER, str(ENVIRONMENT / "patroni"), str(self.folder / "patroni.yml")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*_inside(self.name), *command], stdout=log, stderr=log)

    def kill(self) -> None:
        """Kills everything in the namespace at once."""
        for pid in run("ip", "netns", "pids", self.name).split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        if self.process:
            self.process.wait()

    def kill_postmaster(self) -> None:
        """Kills PostgreSQL's first process. Patroni lives."""
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), 9)

    def link(self, state: str) -> None:
        """Takes the link `down`, with which packets vanish and nothing is refused, or `up`."""
        run("ip", "link", "set", f"{self.name}v", state)

    def ask(self, method: str = "GET", path: str = "/patroni", **content: Any) -> Any:
        """Calls Patroni's REST API. Returns None if it does not answer."""
        try:
            answer = httpx.request(method, f"http://{self.host}:8008{path}", json=content or None, timeout=30)
            return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text
        except (httpx.HTTPError, ValueError):
            return None


@dataclass
class Cluster:
    """The nodes."""

    nodes: list[Node] = field(default_factory=list)

    def url(self, user: str = "aigen") -> str:
        """The URL of the bridge: every host, and nothing else."""
        return f"postgresql://{user}:{PASSWORD}@{','.join(node.host for node in self.nodes)}/postgres"

    def roles(self) -> dict[str, str]:
        """Returns the role of each member that Patroni knows, by the node that it asks first."""
        for node in self.nodes:
            found = node.ask(path="/cluster")
            if isinstance(found, dict):
                return {
                    member["name"]: member["role"]
                    for member in found["members"]
                    if member["state"] in {"running", "streaming"}
                }
        return {}

    def primary(self) -> Node:
        """Returns the primary."""
        roles = self.roles()
        return next(node for node in self.nodes if roles.get(node.name) == "leader")

    async def until_whole(self) -> None:
        """Waits for a primary and two standbys, one of them synchronous."""
        until = time.monotonic() + READY_SECONDS
        while sorted((await asyncio.to_thread(self.roles)).values()) != ["leader", "replica", "sync_standby"]:
            if time.monotonic() > until:
                raise RuntimeError(f"the cluster is not whole again: {self.roles()}")
            await asyncio.sleep(0.5)

    def switch_over(self) -> None:
        """Plans a switchover to the synchronous standby, as an administrator does."""
        roles = self.roles()
        names = {role: name for name, role in roles.items()}
        primary = self.primary()
        answer = primary.ask("POST", "/switchover", leader=primary.name, candidate=names["sync_standby"])
        if "Successfully" not in str(answer):
            raise RuntimeError(f"the switchover failed: {answer}")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Runs the cluster. Raises `CannotRunError` where that is not possible."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="aigen-ha-", dir=_memory())))
        folder.chmod(0o755)
        programs = _programs(folder)
        _make_network(undo)
        _start_etcd(folder, undo)
        made = Cluster([Node(number, folder / f"node-{number}") for number in (1, 2, 3)])
        for node in made.nodes:
            _configure(node, programs)
            undo.callback(node.kill)
            node.start()
        yield made


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - only a folder with a random name


def _programs(folder: Path) -> Path:
    """Returns the folder of PostgreSQL's programs."""
    if os.geteuid() != 0:
        raise CannotRunError("it needs root, to create network namespaces")
    if missing := [name for name in ("ip", "setpriv", "etcd") if not shutil.which(name)]:
        raise CannotRunError(f"{', '.join(missing)} is not installed (Debian: iproute2, util-linux, etcd-server)")
    for command in (["ip", "netns", "add", f"{TAG}-probe"], [*USER, str(ENVIRONMENT / "patroni"), "--version"]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise CannotRunError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
    run("ip", "netns", "del", f"{TAG}-probe")
    with embedded(folder / "probe" / "data") as url, closing(psycopg.connect(url)) as connection:
        [row] = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchall()
    return Path(row[0])


def _make_network(undo: ExitStack) -> None:
    if Path(f"/sys/class/net/{TAG}").exists():
        raise CannotRunError(
            f"the network {TAG} exists: another run is going on, or one was killed. In that case end the processes in "
            f"its namespaces ('ip netns pids {TAG}1' and so on), and remove them ('ip netns del', 'ip link del {TAG}')"
        )
    undo.callback(_remove_network)
    run("ip", "link", "add", TAG, "type", "bridge")
    run("ip", "addr", "add", f"{HERE}/24", "dev", TAG)
    run("ip", "link", "set", TAG, "up")
    for number, host in ((1, 11), (2, 12), (3, 13), (9, 9)):
        name, address = f"{TAG}{number}", f"{NETWORK}.{host}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"{name}v", "type", "veth", "peer", "name", "uplink", "netns", name)
        run("ip", "link", "set", f"{name}v", "master", TAG, "up")
        for command in (
            ("addr", "add", f"{address}/24", "dev", "uplink"),
            ("link", "set", "uplink", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", name, *command)
        mac = run("ip", "netns", "exec", name, "cat", "/sys/class/net/uplink/address")
        # As behind a router: packets to a vanished node are lost, and this machine does not learn of it.
        run("ip", "neigh", "replace", address, "lladdr", mac, "dev", TAG, "nud", "permanent")


def _remove_network() -> None:
    names = [f"{TAG}{number}" for number in (1, 2, 3, 9)]
    links = [["ip", "link", "del", link] for link in (*(f"{name}v" for name in names), TAG)]
    for command in (*links, *(["ip", "netns", "del", name] for name in names)):
        subprocess.run(command, check=False, capture_output=True)


def _start_etcd(folder: Path, undo: ExitStack) -> None:
    client, peer = f"http://{ETCD}:2379", f"http://{ETCD}:2380"
    command = [
        "etcd", "--name", "etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"etcd={peer}",
    ]  # fmt: skip
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen([*_inside(f"{TAG}9"), *command], stdout=log, stderr=log)
    undo.callback(process.wait)
    undo.callback(process.kill)


def _configure(node: Node, programs: Path) -> None:
    node.folder.mkdir()
    shutil.chown(node.folder, "nobody")
    accounts = {
        "superuser": {"username": "postgres", "password": PASSWORD},
        "replication": {"username": "replicator", "password": PASSWORD},
    }
    rules = [f"host all all {NETWORK}.0/24 scram-sha-256", f"host replication replicator {NETWORK}.0/24 scram-sha-256"]
    settings = {"max_connections": 80, "wal_log_hints": "on", "shared_buffers": "64MB", "synchronous_commit": "on"}
    shared = {
        "ttl": TTL,
        "loop_wait": LOOP,
        "retry_timeout": RETRY,
        "synchronous_mode": True,
        "postgresql": {"use_pg_rewind": True, "parameters": settings},
    }
    content = {
        "scope": "aigen",
        "name": node.name,
        "restapi": {"listen": f"{node.host}:8008", "connect_address": f"{node.host}:8008"},
        "etcd3": {"hosts": f"{ETCD}:2379"},
        "bootstrap": {"dcs": shared, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}]},
        "postgresql": {
            "listen": f"{node.host}:5432",
            "connect_address": f"{node.host}:5432",
            "data_dir": str(node.folder / "data"),
            "bin_dir": str(programs),
            "pgpass": str(node.folder / "pgpass"),
            "authentication": accounts,
            "pg_hba": ["local all all trust", *rules],
            "parameters": {"unix_socket_directories": str(node.folder)},
        },
    }
    (node.folder / "patroni.yml").write_text(json.dumps(content))  # JSON is YAML
