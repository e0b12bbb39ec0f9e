"""The files of a release. The same commit gives the same bytes."""
# ruff: noqa: INP001, S603, S607 - a folder of scripts, which start git and uv

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from commit import CHART, Commit

CHECKSUMS = "SHA256SUMS"


def source(root: Path, commit: Commit, folder: Path) -> Path:
    """Returns a folder with what the commit tracks, and nothing else that may lie in the checkout."""
    archive = subprocess.run(["git", "archive", commit.revision], cwd=root, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder / "source", filter="tar")
    return folder / "source"


def make_files(tree: Path, commit: Commit, target: Path) -> None:
    """Writes everything that is made of the source alone. Raises `subprocess.CalledProcessError`."""
    _python_packages(tree, commit, target)
    _zip(tree / "addons", target / f"aigen-odoo-addons-{commit.version}.zip", commit.at)
    _zip(tree / "n8n", target / f"aigen-n8n-workflows-{commit.version}.zip", commit.at)
    _chart(tree / CHART, target / f"aigen-bridge-{commit.version}.tgz", commit.at)
    shutil.copyfile(tree / "openapi/aigen-bridge.json", target / f"aigen-bridge-{commit.version}.openapi.json")


def write_checksums(target: Path) -> None:
    """Lists every file of the folder as `sha256sum` does."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in _files(target)]
    (target / CHECKSUMS).write_text("".join(lines))


def _python_packages(tree: Path, commit: Commit, target: Path) -> None:
    """Wheel and source distribution. The wheel is built from the source distribution."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(commit.at)}
    uv = [os.environ.get("UV", "uv"), "build", "--quiet", "--out-dir", str(target), str(tree)]
    subprocess.run(uv, check=True, env=environment, timeout=300)
    (target / ".gitignore").unlink(missing_ok=True)  # uv's


def _zip(folder: Path, target: Path, at: int) -> None:
    """Packs the folder's contents, dated with the commit."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), time.gmtime(at)[:6])
            entry.external_attr = _mode(path) << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _chart(folder: Path, target: Path, at: int) -> None:
    """Packs a chart as `helm package` does: links are followed, folders in `.helmignore` left out."""
    ignored = (folder / ".helmignore").read_text().split()
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=at) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path in _files(folder):
            name = path.relative_to(folder)
            if f"{name.parts[0]}/" not in ignored:
                entry = tarfile.TarInfo(f"{folder.name}/{name}")
                entry.size, entry.mtime, entry.mode = path.stat().st_size, at, _mode(path)
                archive.addfile(entry, io.BytesIO(path.read_bytes()))


def _files(folder: Path) -> Iterable[Path]:
    """Returns all files below a folder, those of linked folders included."""
    return sorted(Path(top) / name for top, _, names in os.walk(folder, followlinks=True) for name in names)


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644
