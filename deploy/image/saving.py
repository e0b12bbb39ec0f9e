"""Saves a proved image for `make release`: its archive, and facts about its contents."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start Docker

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from engine import Docker

PACKAGES = """
import json, re
from importlib.metadata import distributions
named = {re.sub("[-_.]+", "-", found.name).lower(): found.version for found in distributions()}
print(json.dumps(named))
"""


def facts_for_release(docker: Docker, image: str) -> dict[str, Any]:
    """Return id, platform, base image and the Python packages besides our own."""
    (inspected,) = json.loads(docker("image", "inspect", image))
    packages = json.loads(docker("run", "--rm", "--entrypoint=python3", image, "-c", PACKAGES))
    return {
        "id": inspected["Id"],
        "platform": f"{inspected['Os']}/{inspected['Architecture']}",
        "base": inspected["Config"]["Labels"]["org.opencontainers.image.base.name"],
        "packages": {name: version for name, version in packages.items() if name != "aigen-bridge"},
    }


def save(docker: Docker, image: str, target: Path) -> None:
    """Write the archive for `docker load`, compressed."""
    command = [*docker.command, "save", image]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as saving, gzip.GzipFile(target, "wb", mtime=0) as archive:
        assert saving.stdout  # noqa: S101 - for the type checker
        shutil.copyfileobj(saving.stdout, archive)
    if saving.returncode:
        raise subprocess.CalledProcessError(saving.returncode, command)
