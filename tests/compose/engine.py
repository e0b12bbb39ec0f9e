"""A Docker engine for the cases: the machine's own if one answers, otherwise one that is started for the purpose.

`ENGINE=own` starts one in any case, `ENGINE=docker` insists on the machine's, and `ENGINE=unix:///…` names a socket.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from compose.debian import CACHE, CannotRunError, engine_root, need

START_SECONDS, STOP_SECONDS = 60, 90
CLONE_NEWNET = 0x40000000
WITH_US = ("setpriv", "--pdeathsig=KILL")
"""Ends what it starts when this process is killed. Not TERM, which `unshare --fork` blocks."""


@dataclass(frozen=True)
class Done:
    """The exit status of a command, and its standard output and error."""

    command: str
    status: int
    output: str


@dataclass(frozen=True)
class Engine:
    """Runs commands where the engine's paths and ports are. `root` is its root folder, as it is seen from here."""

    name: str
    folder: Path
    enter: tuple[str, ...] = ()
    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Short, for pytest's output."""
        return f"<engine, {self.name}>"

    @property
    def own(self) -> bool:
        """True if it was started by the tests, and therefore reaches no registry of images."""
        return bool(self.enter)

    def try_shell(self, command: str, folder: Path | str = "/", timeout: float = 900, **environment: str) -> Done:
        """Runs a shell's command in a folder of the engine to its end."""
        given = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        words = [*self.enter, "env", *given, "/bin/sh", "-c", 'cd "$1" && eval "$2"', "sh", str(folder), command]
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                output += f"\n(ended after {timeout:.0f} s)"
        return Done(command, process.returncode, output.strip())

    def shell(self, command: str, folder: Path | str = "/", timeout: float = 900, **environment: str) -> str:
        """Runs a shell's command, which must succeed. Returns its output."""
        done = self.try_shell(command, folder, timeout, **environment)
        assert done.status == 0, f"{command} ended with {done.status}:\n{done.output[-4000:]}"
        return done.output

    def outside(self, folder: Path) -> Path:
        """Returns the path from here of a folder in the engine."""
        return self.root / folder.relative_to("/")


@contextmanager
def engine() -> Iterator[Engine]:
    """Finds an engine or runs one. Raises `CannotRunError` where neither is possible."""
    wanted = os.environ.get("ENGINE", "")
    if "://" in wanted or (wanted in {"", "docker"} and _answers()):
        with tempfile.TemporaryDirectory(prefix="aigen-compose-") as folder:
            given = {"DOCKER_HOST": wanted} if "://" in wanted else {}
            yield Engine("the machine's own", Path(folder), environment=given)
    elif wanted in {"", "own"}:
        with ExitStack() as undo:
            yield _own(undo)
    else:
        raise RuntimeError(f"ENGINE={wanted}: no engine answers")


def _answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], check=False, capture_output=True).returncode == 0


def _own(undo: ExitStack) -> Engine:
    """Runs dockerd in a root folder and namespaces of its own. This thread, and what it starts, use its network."""
    need("debootstrap", "slirp4netns")
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = undo.enter_context((CACHE / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotRunError(f"another run is going on with the engine in {CACHE} (AIGEN_COMPOSE_CACHE)") from None
    root = engine_root()
    namespaces = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
    process = subprocess.Popen([*WITH_US, *namespaces, Path(__file__).with_name("own_engine.sh"), root])
    undo.callback(_remove_cgroups)
    undo.callback(_stop, process)
    first = _child(process)
    slirp = subprocess.Popen(
        [*WITH_US, "slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback", str(first), "tap0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    undo.callback(_stop, slirp)
    clean = [
        "env",
        "-i",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        "HOME=/root",
        "LANG=C.UTF-8",
    ]
    enter = ["nsenter", f"--target={first}", "--mount", "--net", "--pid", "--uts", "--ipc", "--", *clean]
    made = Engine("started for the purpose", Path("/srv"), tuple(enter), root)
    _wait_until_up(made, process)
    made.shell(
        "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force; docker network prune --force;"
        " docker volume prune --all --force; docker image prune --force"
    )  # of a run that was killed
    undo.enter_context(_network_of(first))
    return made


def _child(process: subprocess.Popen[bytes]) -> int:
    """The process id of the first process in the namespaces."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if found := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise CannotRunError("this machine does not permit namespaces (unshare failed)")


def _wait_until_up(made: Engine, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if made.try_shell("docker info").status == 0:
            return
        time.sleep(0.2)
    log = made.root / "var/log/dockerd.log"
    raise CannotRunError(f"dockerd does not start: {log.read_text()[-1500:] if log.exists() else 'no log'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stops the first process that unshare has started, which takes everything else with it; or slirp4netns."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for pid in children.read_text().split() if children.exists() else ():
        os.kill(int(pid), signal.SIGTERM)
        break
    else:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _remove_cgroups() -> None:
    """Removes the groups in which the containers were, also those of a killed run, unless a process is in them."""
    groups = Path("/sys/fs/cgroup")
    for group in (*groups.glob("aigen-compose"), *groups.glob("*/aigen-compose")):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


@contextmanager
def _network_of(pid: int) -> Iterator[None]:
    """Moves this thread into the network of a process, and back."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as here, Path(f"/proc/{pid}/ns/net").open() as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise CannotRunError(f"cannot enter the engine's network: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.setns(here.fileno(), CLONE_NEWNET)
