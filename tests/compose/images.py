"""Builds what no registry gives here: a stand-in for each image that docker-compose.yml names (images/README.md)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from compose.debian import CERTIFICATES, base
from compose.engine import Engine

HERE = Path(__file__).parent / "images"
REPOSITORY = Path(__file__).parents[2]
CANNOT = 75
"""The exit status of a `prepare` that says why it cannot."""
BRIDGE = "aigen-bridge"


def named() -> dict[str, str]:
    """Returns the images that docker-compose.yml and the Dockerfile take from a registry, by their short names.

    Without digests, which no stand-in can have.
    """
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"].values()
    python = re.search(r"ARG PYTHON_IMAGE=([^@\s]+)", (REPOSITORY / "Dockerfile").read_text())
    images = {service["image"] for service in services} | ({python[1]} if python else set())
    return {_short(image): image for image in sorted(images) if _short(image) != BRIDGE}


def provide(engine: Engine, name: str) -> str | None:
    """Makes an image available under its full name. Returns why that is not possible, or None."""
    image = named().get(name)
    if image and not engine.own:
        return None  # the engine pulls it
    folder = HERE / name
    if not (folder / "Dockerfile").exists():
        return f"there is neither a registry of images nor a stand-in for {image or name}"
    for version in re.findall(r"^FROM aigen-debian:(\d+)", (folder / "Dockerfile").read_text(), re.MULTILINE):
        _import(engine, version)
    context = engine.outside(engine.folder) / "contexts" / name
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(folder, context)
    if (folder / "prepare").exists():
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it finds the packages of this environment
        prepared = subprocess.run(
            [folder / "prepare", context], check=False, capture_output=True, text=True, env=os.environ | {"PATH": path}
        )
        if prepared.returncode == CANNOT:
            return (prepared.stdout + prepared.stderr).strip().splitlines()[-1]
        assert prepared.returncode == 0, f"{folder / 'prepare'}: {prepared.stdout}{prepared.stderr}"
    _build(engine, image or f"aigen-{name}:local", engine.folder / "contexts" / name)
    shutil.rmtree(context)
    return None


def _short(image: str) -> str:
    return image.rpartition("/")[2].partition(":")[0]


def _import(engine: Engine, version: str) -> None:
    tag = f"aigen-debian:{version}"
    if engine.try_shell(f"docker image inspect {tag}").status == 0:
        return
    if not engine.own:
        engine.shell(f"docker pull debian:{version} && docker tag debian:{version} {tag}")
        return
    archive = base(version)
    inside = engine.outside(Path("/srv")) / archive.name
    inside.unlink(missing_ok=True)  # of a run that was killed
    os.link(archive, inside)
    engine.shell(f"docker import --change 'CMD [\"bash\"]' /srv/{archive.name} {tag}")
    inside.unlink()


def _build(engine: Engine, image: str, context: Path) -> None:
    secret = f"--secret id=ca,src=/{CERTIFICATES}" if engine.own else ""
    engine.shell(f"docker build --network=host {secret} --tag {image} .", context, timeout=1800)
