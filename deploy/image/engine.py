"""A Docker engine of our own, private in every path, and a base image made of Debian's packages."""
# ruff: noqa: INP001, S603, S607, T201 - a folder of scripts, which start programs and print

import os
import platform
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS, STOP_SECONDS = 60, 60
BASE = "aigen-base:local"
LEFT_OUT = ("dev", "etc/hostname", "etc/resolv.conf", "proc", "sys", "usr/share/doc", "usr/share/locale",
            "usr/share/man", "var/cache", "var/lib/apt/lists", "var/log")  # fmt: skip
"""What official slim images do not have either, and what debootstrap copies from this machine."""


@dataclass(frozen=True, slots=True)
class Docker:
    """Runs Docker's commands."""

    command: Sequence[str]

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """What the command printed. Raises `CalledProcessError`."""
        done = subprocess.run(
            [*self.command, *arguments],
            check=check,
            capture_output=True,
            text=True,
            env=os.environ | {"DOCKER_BUILDKIT": "1"},
        )
        return done.stdout.strip()


@contextmanager
def own_engine(folder: Path) -> Iterator[Docker]:
    """Run dockerd with all its files in `folder`. It touches no firewall and no other engine."""
    home = folder / "engine"
    home.mkdir()
    socket, log = f"unix://{home}/socket", home / "log"
    (home / "config.json").write_text("{}")
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            ["/usr/sbin/dockerd", f"--config-file={home}/config.json", f"--host={socket}", f"--pidfile={home}/pid",
             f"--data-root={home}/data", f"--exec-root={home}/exec", "--storage-driver=vfs",
             "--bridge=none", "--iptables=false", "--ip6tables=false"],
            stdout=log_file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    docker = Docker(("/usr/bin/docker", f"--host={socket}"))
    try:
        _wait_until_up(docker, process, log)
        yield docker
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        _unmount(folder)


def _wait_until_up(docker: Docker, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if docker("info", "--format={{.ServerVersion}}", check=False):
            return
        time.sleep(0.2)
    last_words = log.read_bytes()[-2000:]
    raise subprocess.CalledProcessError(process.poll() or 1, "dockerd", stderr=last_words.decode())


def _unmount(folder: Path) -> None:
    """Engine and debootstrap leave mounts behind, which must be gone before the folder is removed."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", mount], check=True)


def debian_base(docker: Docker, folder: Path) -> str:
    """Import this machine's release of Debian with Python, and nothing else; returns the image's name."""
    print("Making a base of Debian's packages ...", flush=True)
    root = folder / "debian"
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    packages = "ca-certificates,python3,python3-venv"
    _run_whole("debootstrap", "--variant=minbase", f"--include={packages}", release, str(root))
    archive = folder / "debian.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname="", filter=_wanted)
    shutil.rmtree(root)
    docker("import", str(archive), BASE)
    archive.unlink()
    return BASE


def _run_whole(*command: str) -> None:
    """Run it quietly. When we are stopped meanwhile, what it has started ends with it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, process_group=0)
    try:
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status:
        raise subprocess.CalledProcessError(status, command)


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.startswith(LEFT_OUT) else entry
