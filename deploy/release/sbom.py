"""The SBOM of a release: the Python packages of the container image, as uv.lock has them, in CycloneDX."""
# ruff: noqa: INP001, S603 - a folder of scripts, which start uv and cyclonedx-py

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from commit import CannotReleaseError, Commit
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from jsonschema import Draft7Validator

IMAGE_HAS = ("--frozen", "--no-dev", "--group=container", "--extra=marking", "--extra=otel")
"""As in the Dockerfile."""
UNDECLARED = {"dumb-init": "MIT", "protobuf": "BSD-3-Clause"}
"""Licences that the metadata lacks or only has in words; read in the package's own LICENSE."""
UV = os.environ.get("UV", "uv")


def sbom(tree: Path, commit: Commit, folder: Path) -> dict[str, Any]:
    """Returns the document. Raises `subprocess.CalledProcessError`, `CannotReleaseError` if its schema refuses it.

    An environment of exactly these packages tells licences and dependencies, uv.lock the hashes of their files.
    """
    python = _environment(tree, folder / "environment")
    document = _components(tree, python, commit)
    locked = _locked_files(tree)
    for component in document["components"]:
        component["hashes"] = locked[component["purl"]]
        if component["name"] in UNDECLARED and "licenses" not in component:
            component["licenses"] = [{"license": {"id": UNDECLARED[component["name"]]}}]
    document["metadata"]["component"]["version"] = commit.version
    Draft7Validator.FORMAT_CHECKER.checkers.pop("iri-reference", None)  # 20 ms for each of hundreds
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)):
        raise CannotReleaseError(f"The SBOM is not valid CycloneDX: {wrong}")
    return document


def packages(document: dict[str, Any]) -> dict[str, str]:
    """Returns the version of each package in an SBOM, by its name as package indexes write it."""
    purls = (component["purl"] for component in document["components"])
    return dict(purl.removeprefix("pkg:pypi/").split("@") for purl in purls)


def _environment(tree: Path, folder: Path) -> Path:
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(folder)}
    sync = [UV, "sync", *IMAGE_HAS, "--no-install-project", "--quiet", f"--python={sys.executable}"]
    subprocess.run(sync, cwd=tree, check=True, env=environment, timeout=300)
    return folder / "bin/python"


def _components(tree: Path, python: Path, commit: Commit) -> dict[str, Any]:
    tool = Path(sys.executable).parent / "cyclonedx-py"
    options = ["--sv=1.6", "--output-reproducible", "--no-validate", "--pyproject", tree / "pyproject.toml", "-o", "-"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(commit.at)}
    describe = [tool, "environment", *options, python]
    done = subprocess.run(describe, check=True, env=environment, capture_output=True, text=True, timeout=120)
    return dict(json.loads(done.stdout))


def _locked_files(tree: Path) -> dict[str, list[dict[str, str]]]:
    """Returns the hashes of the files that uv.lock permits for each package: a wheel for each platform, the source.

    Not their addresses, of which there are thousands.
    """
    export = [UV, "export", *IMAGE_HAS, "--no-emit-project", "--format=cyclonedx1.5", "--quiet"]
    done = subprocess.run(export, cwd=tree, check=True, capture_output=True, text=True, timeout=60)
    components = json.loads(done.stdout)["components"]
    return {
        component["purl"]: [found for file in component["externalReferences"] for found in file["hashes"]]
        for component in components
    }
