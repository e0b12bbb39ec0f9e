"""Makes everything that is published of one version, in a folder. Started by `make release`; docs/release.md."""
# ruff: noqa: INP001, S607, T201 - a folder of scripts, which start others and print

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from commit import CannotReleaseError, Commit, addon_version, releasable
from files import CHECKSUMS, make_files, source, write_checksums
from image import make_image
from sbom import sbom

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Exit status 0 only if the release is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", help="the version, if no tag names it")
    parser.add_argument("--image", choices=["build", "none"], default="build")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--target", type=Path, default=ROOT / "dist/release", help="the folder, which is replaced")
    arguments = parser.parse_args()
    try:
        commit = releasable(arguments.root, arguments.version)
        _check_target(arguments.target)
        if arguments.image == "build":
            _check_engine()
        release(arguments.root, commit, arguments.target, with_image=arguments.image == "build")
    except CannotReleaseError as error:
        sys.exit(f"No release was made.\n{error}")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        words = error.stderr or ""
        words = words.decode(errors="replace") if isinstance(words, bytes) else words
        sys.exit(f"No release was made: {error}\n{words}".rstrip())
    print((arguments.target / "SHA256SUMS").read_text(), end="")
    print(f"\nVersion {commit.version} is in {arguments.target}. Sign SHA256SUMS (docs/release.md).")


def release(root: Path, commit: Commit, target: Path, *, with_image: bool) -> None:
    """Makes the folder with everything that is published. If something fails, it stays as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="aigen-release-") as work,
        tempfile.TemporaryDirectory(prefix=".release-", dir=target.parent) as beside,
    ):
        made = Path(beside) / "release"
        made.mkdir()
        tree = source(root, commit, Path(work))
        make_files(tree, commit, made)
        document = sbom(tree, commit, Path(work))
        _write(made / f"aigen-bridge-{commit.version}.cdx.json", document)
        image = make_image(root, commit, document, made) if with_image else None
        _write(made / "release.json", _manifest(tree, commit, image))
        write_checksums(made)
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)


def _check_target(target: Path) -> None:
    """Raises `CannotReleaseError` for a folder with other things than a release, because it would be deleted."""
    if target.exists() and not (target / CHECKSUMS).exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CannotReleaseError(f"{target} is not empty and holds no release. Empty it, or name another folder.")


def _check_engine() -> None:
    """Raises `CannotReleaseError` without a Docker engine: a release never lacks its image by accident."""
    if os.environ.get("IMAGE_BASE") == "local":
        return
    if not shutil.which("docker") or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        raise CannotReleaseError(
            "No Docker engine answers, and the image is part of a release. Start one, or say what you want instead:\n"
            "IMAGE=none leaves it out, IMAGE_BASE=local builds it on a base of Debian's packages (root on Debian)."
        )


def _manifest(tree: Path, commit: Commit, image: dict[str, Any] | None) -> dict[str, Any]:
    """Returns what was released: the commit, the image with the digest of its base, and the version of each addon."""
    manifests = sorted((tree / "addons").glob("*/__manifest__.py"))
    addons = {path.parent.name: addon_version(path.read_text()) for path in manifests}
    return {"version": commit.version, "revision": commit.revision, "image": image, "addons": addons}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
