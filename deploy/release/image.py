"""The container image of a release: built and proved by deploy/image.sh, and packed."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start others

import json
import subprocess
from pathlib import Path
from typing import Any

from commit import CannotReleaseError, Commit
from sbom import packages


def make_image(root: Path, commit: Commit, document: dict[str, Any], target: Path) -> dict[str, Any]:
    """Writes the archive for `docker load`, and returns what it is made of. Raises `CannotReleaseError`."""
    archive = target / f"aigen-bridge-{commit.version}.image.tar.gz"
    found = target / "image.json"
    built = subprocess.run([root / "deploy/image.sh", "--save", archive, "--facts", found], check=False)
    if built.returncode:
        raise CannotReleaseError("The image could not be built and proved. IMAGE=none makes a release without one.")
    facts = dict(json.loads(found.read_text()))
    found.unlink()
    _compare(facts.pop("packages"), packages(document))
    return {"archive": archive.name} | facts


def _compare(inside: dict[str, str], listed: dict[str, str]) -> None:
    """Raises `CannotReleaseError` unless the image has the packages that the SBOM lists."""
    if inside != listed:
        others = sorted(name for name in {**inside, **listed} if inside.get(name) != listed.get(name))
        raise CannotReleaseError(f"Image and SBOM differ in these packages: {', '.join(others)}.")
