"""The commit that is released, and whether it may be: a clean checkout in which every file names the same version."""
# ruff: noqa: INP001, S603, S607 - a folder of scripts, which start git

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VERSION = r"(\d+\.\d+\.\d+(?:-(?:a|b|rc)\d+)?)"
"""Such as `1.2.3` and `1.2.3-rc1`: SemVer, which Helm needs, and a version for Python, too."""
DECLARED = {
    "src/aigen_bridge/__init__.py": rf'^__version__ = "{VERSION}"$',
    "CHANGELOG.md": rf"^## \[{VERSION}\] - \d{{4}}-\d\d-\d\d$",
    "Dockerfile": rf"^ARG VERSION={VERSION}$",
    "docker-compose.yml": rf"^  image: aigen-bridge:{VERSION}$",
    "openapi/aigen-bridge.json": rf'^    "version": "{VERSION}"$',
}
"""The pattern of the version in each file, whose first match counts. In the changelog that is the newest release."""
CHART = "deploy/helm/aigen-bridge"
DECLARED_BY_CHART = {rf"^version: {VERSION}(?: |$)": "version", rf'^appVersion: "?{VERSION}"?(?: |$)': "appVersion"}


class CannotReleaseError(Exception):
    """The checkout cannot be released; one line for each reason."""


@dataclass(frozen=True)
class Commit:
    """A commit and the version under which it is released."""

    version: str
    revision: str
    at: int
    """Seconds since 1970, for `SOURCE_DATE_EPOCH`."""


def releasable(root: Path, wanted: str | None) -> Commit:
    """Returns the checked-out commit. `wanted` is the version if no tag `v…` names it. Raises `CannotReleaseError`."""
    if changed := git(root, "status", "--porcelain"):
        raise CannotReleaseError(f"The checkout is not clean. Commit or remove these files:\n{changed}")
    version = _version(root, wanted)
    if wrong := [*_other_versions(root, version), *_unversioned_addons(root)]:
        raise CannotReleaseError("\n".join(wrong))
    return Commit(version, git(root, "rev-parse", "HEAD"), int(git(root, "log", "-1", "--format=%ct")))


def git(root: Path, *arguments: str) -> str:
    """Returns what git prints. Raises `CannotReleaseError` with its last words."""
    done = subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise CannotReleaseError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def addon_version(manifest: str) -> str:
    """Returns the version in the text of an addon's `__manifest__.py`."""
    return str(ast.literal_eval(manifest)["version"])


def _version(root: Path, wanted: str | None) -> str:
    tags = git(root, "tag", "--points-at", "HEAD").splitlines()
    tagged = sorted(found[1] for tag in tags if (found := re.fullmatch(f"v{VERSION}", tag)))
    if wanted and tagged and wanted not in tagged:
        raise CannotReleaseError(f"VERSION={wanted} is wanted, but this commit is tagged {', '.join(tagged)}.")
    if not wanted and not tagged:
        raise CannotReleaseError("No tag such as v1.2.3 points at this commit. Tag it, or give VERSION=1.2.3.")
    if not wanted and len(tagged) > 1:
        raise CannotReleaseError(f"This commit has several versions: {', '.join(tagged)}. Give VERSION=.")
    return wanted or tagged[0]


def _other_versions(root: Path, version: str) -> Iterator[str]:
    patterns = [(path, pattern, "the version") for path, pattern in DECLARED.items()]
    patterns += [(f"{CHART}/Chart.yaml", pattern, name) for pattern, name in DECLARED_BY_CHART.items()]
    for path, pattern, name in patterns:
        found = re.search(pattern, (root / path).read_text(), re.MULTILINE)
        if not found or found[1] != version:
            yield f"{path}: {name} is {found[1] if found else 'missing'}, and must be {version}."


def _unversioned_addons(root: Path) -> Iterator[str]:
    """Odoo updates an addon only if its version changes: names those that changed since the last release without."""
    done = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "HEAD^"],
        cwd=root, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if not (last := done.stdout.strip()):
        return  # the first release
    for manifest in sorted(path.relative_to(root) for path in (root / "addons").glob("*/__manifest__.py")):
        if not git(root, "ls-tree", last, str(manifest)) or not git(root, "diff", last, "--", str(manifest.parent)):
            continue
        version = addon_version((root / manifest).read_text())
        if version == addon_version(git(root, "show", f"{last}:{manifest}")):
            yield f"{manifest}: the addon has changed since {last}, and its version is still {version}."
