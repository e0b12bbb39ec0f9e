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
from files import make_files, source, write_checksums
from image import make_image
from sbom import sbom

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Exit status 0 only if the release is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", help="the version, if no tag names it")
    parser.add_argument("--image", choices=["build", "none"], default="build")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--target", type=Path, default=ROOT / "dist/release", help="the folder, which is made anew")
    arguments = parser.parse_args()
    try:
        commit = releasable(arguments.root, arguments.version)
        if arguments.image == "build":
            _check_engine()
        release(arguments.root, commit, arguments.target, with_image=arguments.image == "build")
    except CannotReleaseError as error:
        sys.exit(f"No release was made.\n{error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"No release was made: {error}\n{error.stderr or ''}".rstrip())
    print((arguments.target / "SHA256SUMS").read_text(), end="")
    print(f"\nVersion {commit.version} is in {arguments.target}. Sign SHA256SUMS (docs/release.md).")


def release(root: Path, commit: Commit, target: Path, *, with_image: bool) -> None:
    """Fills the folder with everything that is published. Leaves none behind if something fails."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory(prefix="aigen-release-") as name:
            tree = source(root, commit, Path(name))
            make_files(tree, commit, target)
            document = sbom(tree, commit, Path(name))
            _write(target / f"aigen-bridge-{commit.version}.cdx.json", document)
            image = make_image(root, commit, document, target) if with_image else None
            _write(target / "release.json", _manifest(tree, commit, image))
        write_checksums(target)
    except BaseException:
        shutil.rmtree(target)
        raise


def _check_engine() -> None:
    """An image by accident missing, or on another base than people expect, would be worse than no release."""
    if os.environ.get("IMAGE_BASE") == "local":
        return
    if not shutil.which("docker") or subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        raise CannotReleaseError(
            "No Docker engine answers, and the image is part of a release. Start one, or say what you want instead:\n"
            "IMAGE=none leaves it out, IMAGE_BASE=local builds it on a base of Debian's packages (root on Debian)."
        )


def _manifest(tree: Path, commit: Commit, image: dict[str, Any] | None) -> dict[str, Any]:
    """What was released: the commit, the image with the digest of its base, and the version of each addon."""
    manifests = sorted((tree / "addons").glob("*/__manifest__.py"))
    addons = {path.parent.name: addon_version(path.read_text()) for path in manifests}
    return {"version": commit.version, "revision": commit.revision, "image": image, "addons": addons}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
