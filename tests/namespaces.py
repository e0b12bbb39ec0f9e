"""A primary and a synchronous standby in separate network namespaces. A node can vanish without closing sockets."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from aigen_bridge.embedded import postgres as embedded

PASSWORD = "replicated"
START_SECONDS = 60


def run(*command: str) -> str:
    """Runs a command to its end. Fails the test with its output unless it succeeds."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Node:
    """A PostgreSQL in a namespace. `here` is this machine's address on the link to it, `there` the node's address."""

    namespace: str
    programs: Path
    folder: Path
    user: str
    here: str
    there: str

    @property
    def host(self) -> str:
        """The node's address without the prefix length."""
        return self.there.partition("/")[0]

    def inside(self, *command: str) -> str:
        """Runs a command in the namespace, as a user that PostgreSQL accepts."""
        user = ("setpriv", f"--reuid={self.user}", "--regid=nogroup", "--clear-groups")
        return run("ip", "netns", "exec", self.namespace, *user, *command)

    def start(self) -> None:
        """Starts the server and waits until it accepts connections."""
        options = f"-h '*' -k '' -c max_connections=60 -c wal_level=replica -c listen_addresses={self.host},{self.peer}"
        self.inside(
            str(self.programs / "pg_ctl"),
            "start",
            "-w",
            "-D",
            str(self.folder),
            "-l",
            f"{self.folder}.log",
            "-o",
            options,
        )

    def stop(self) -> None:
        """Stops the server immediately."""
        self.inside(str(self.programs / "pg_ctl"), "stop", "-m", "immediate", "-D", str(self.folder))

    @property
    def peer(self) -> str:
        """The node's address on the link between the two nodes."""
        return f"10.231.9.{1 if self.host.endswith('.1.2') else 2}"


@dataclass(frozen=True)
class Pair:
    """The primary and the standby, with the events of a failover."""

    primary: Node
    standby: Node

    @property
    def url(self) -> str:
        """A URL with both hosts, for the bridge."""
        hosts = f"{self.primary.host},{self.standby.host}"
        return f"postgresql://postgres:{PASSWORD}@{hosts}/postgres?target_session_attrs=read-write"

    def vanish(self) -> None:
        """Simulates a power failure of the primary: packets to it are lost, and nothing is refused."""
        for link in ("uplink", "between"):
            run("ip", "-n", self.primary.namespace, "addr", "flush", "dev", link)

    def promote(self) -> None:
        """Promotes the standby to a primary without synchronous replication."""
        self.standby.inside(str(self.standby.programs / "pg_ctl"), "promote", "-w", "-D", str(self.standby.folder))
        url = f"host={self.standby.host} user=postgres password={PASSWORD}"
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def replicated(folder: Path) -> Iterator[Pair]:
    """Runs both nodes. Skips the test where namespaces cannot be created."""
    programs = _programs(folder)
    _remove_leftovers()
    tag = f"aigen{os.getpid()}"
    with ExitStack() as undo:
        primary, standby = (_node(undo, f"{tag}-{n}", n, programs, folder) for n in (1, 2))
        other = ("peer", "name", "between", "netns", standby.namespace)
        run("ip", "-n", primary.namespace, "link", "add", "between", "type", "veth", *other)
        for node in (primary, standby):
            run("ip", "-n", node.namespace, "addr", "add", f"{node.peer}/24", "dev", "between")
            run("ip", "-n", node.namespace, "link", "set", "between", "up")
        _fill(primary, standby, undo)
        yield Pair(primary, standby)


def _remove_leftovers() -> None:
    """Removes what tests that were killed have left: their addresses are those of this one."""
    for line in run("ip", "netns", "list").splitlines():
        found = re.match(r"aigen(\d+)-\d\b", line)
        if found and not Path("/proc", found[1]).exists():
            for process in run("ip", "netns", "pids", found[0]).split():
                with suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            run("ip", "netns", "del", found[0])


def _programs(folder: Path) -> Path:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "setpriv"))):
        pytest.skip("needs root, iproute2 and setpriv to create network namespaces")
    probe = f"aigen{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], check=False, capture_output=True)  # noqa: S607
    if made.returncode:
        pytest.skip("this machine does not permit network namespaces")
    run("ip", "netns", "del", probe)
    with embedded(folder / "probe" / "data") as url, closing(psycopg.connect(url)) as connection:
        [row] = connection.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchall()
    return Path(row[0])


def _node(undo: ExitStack, namespace: str, number: int, programs: Path, folder: Path) -> Node:
    run("ip", "netns", "add", namespace)
    undo.callback(run, "ip", "netns", "del", namespace)
    here, there, link = f"10.231.{number}.1", f"10.231.{number}.2", f"ag{os.getpid() % 100000}v{number}"
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "uplink", "netns", namespace)
    undo.callback(subprocess.run, ["ip", "link", "del", link], check=False, capture_output=True)
    run("ip", "addr", "add", f"{here}/24", "dev", link)
    run("ip", "link", "set", link, "up")
    for command in (
        ("addr", "add", f"{there}/24", "dev", "uplink"),
        ("link", "set", "uplink", "up"),
        ("link", "set", "lo", "up"),
    ):
        run("ip", "-n", namespace, *command)
    address = run("ip", "netns", "exec", namespace, "cat", "/sys/class/net/uplink/address")
    run("ip", "neigh", "replace", there, "lladdr", address, "dev", link, "nud", "permanent")
    return Node(namespace, programs, folder / f"node-{number}" / "data", "nobody", here, there)


def _fill(primary: Node, standby: Node, undo: ExitStack) -> None:
    for node in (primary, standby):
        node.folder.parent.mkdir()
        shutil.chown(node.folder.parent, node.user)
    secret = primary.folder.parent / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    primary.inside(
        str(primary.programs / "initdb"), "-D", str(primary.folder), "-U", "postgres", "-E", "UTF8", "--locale=C",
        "--auth=trust", f"--pwfile={secret}",
    )  # fmt: skip
    with (primary.folder / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.231.0.0/16 scram-sha-256\nhost replication all 10.231.9.0/24 trust\n")
    primary.start()
    undo.callback(primary.stop)
    source = f"host={primary.peer} user=postgres application_name=standby"
    standby.inside(
        str(standby.programs / "pg_basebackup"), "-D", str(standby.folder), "-R", "-X", "stream", "-d", source
    )
    standby.start()
    undo.callback(standby.stop)
    url = f"host={primary.host} user=postgres password={PASSWORD}"
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        connection.execute("SELECT pg_reload_conf()")
        until = time.monotonic() + START_SECONDS
        while connection.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'").fetchone() is None:
            assert time.monotonic() < until, "the standby does not follow"
            time.sleep(0.1)
