"""Debian's packages as a root folder: the base of every stand-in image, and the engine's own root.

Both lie in `.tools/compose` (or `AIGEN_COMPOSE_CACHE`), because making them takes minutes. `make clean` removes them.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("AIGEN_COMPOSE_CACHE") or Path(__file__).parents[2] / ".tools/compose").absolute()
RELEASES = {"12": "bookworm", "13": "trixie"}
BASE = ("ca-certificates", "curl", "python3", "python3-venv")
ENGINE = ("docker.io", "docker-cli", "docker-compose", "docker-buildx", "iptables", "iproute2", "git", "make")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
NAME_SERVER = "10.0.2.3"
"""The address at which slirp4netns answers."""


class CannotRunError(Exception):
    """This machine cannot run an engine, and why."""


def run(*command: str | Path, **options: object) -> str:
    """Runs a command to its end. Raises `RuntimeError` with its output unless it succeeds."""
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return str(done.stdout).strip()


def need(*programs: str) -> None:
    """Installs what is missing from Debian's packages of the same names."""
    if os.geteuid() != 0:
        raise CannotRunError("no Docker engine answers, and only root can start one of its own")
    if missing := [name for name in programs if not shutil.which(name)]:
        if not shutil.which("apt-get"):
            raise CannotRunError(f"no Docker engine answers, and {', '.join(missing)} cannot be installed without apt")
        run("apt-get", "update", "--quiet=2")
        run("apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *missing,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip


def base(version: str) -> Path:
    """Returns an archive of Debian 12 or 13 with the packages of `BASE`, for `docker import`."""
    archive = CACHE / f"debian-{version}.tar"
    if not archive.exists():
        folder = _made(version, CACHE / f"debian-{version}")
        run("tar", "--create", "--file", f"{archive}.new", "--directory", folder,
            "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./var/cache/apt/*.bin", ".",
        )  # fmt: skip
        Path(f"{archive}.new").rename(archive)
        shutil.rmtree(folder)
    return archive


def engine_root() -> Path:
    """Returns a root folder with Docker in it."""
    root = CACHE / "root"
    if not root.exists():
        folder = CACHE / "root.new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        run("tar", "--extract", "--file", base("13"), "--directory", folder)
        shutil.copy("/etc/resolv.conf", folder / "etc/resolv.conf")
        for command in (["update", "--quiet=2"], ["install", "--quiet=2", "--yes", "--no-install-recommends", *ENGINE]):
            run("chroot", folder, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *command)
        (folder / "etc/resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        folder.rename(root)
    return root


def _made(version: str, folder: Path) -> Path:
    """Debian as debootstrap makes it, with this machine's sources of packages and certificates."""
    shutil.rmtree(folder, ignore_errors=True)
    release, source = RELEASES[version], _source()
    CACHE.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(BASE)}", release, folder, source)
    (folder / "etc/apt/sources.list").write_text(f"deb {source} {release} main\ndeb {source} {release}-updates main\n")
    settings = [line for line in run("apt-config", "dump").splitlines() if line.startswith("Acquire::")]
    (folder / "etc/apt/apt.conf.d/90machine").write_text("\n".join(settings) + "\n")
    shutil.copy(f"/{CERTIFICATES}", folder / CERTIFICATES)
    return folder


def _source() -> str:
    """The files that name this machine's sources of Debian packages."""
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    lines = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)").splitlines()
    return next(uri for name, uri in map(str.split, lines) if name == codename)
