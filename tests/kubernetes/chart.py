"""Calls Helm, and looks into what it renders."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes.cases import CHART, Values

PYTHON = CHART.parents[2] / ".tools/helm/bin/python"
SUPPORTED = ("1.30", "1.37")
"""The oldest and the newest version of Kubernetes that manifests are validated for."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """Helm's result for each case, in their order. The rest only if it was examined.

    `packed` is the result for the first case with the packed chart. `lint` and `invalid` say what is wrong.
    """

    rendered: list[dict[str, Any]]
    packed: dict[str, Any] = field(default_factory=dict)
    lint: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)


def helm(cases: Mapping[str, Values], *releases: str, examined: bool = False) -> Answer:
    """Renders the chart with the values of each case, as each of these releases, by default `bridge`.

    `examined`: Helm lints it, too, and the API's schemas validate each manifest.
    """
    if not PYTHON.exists():
        pytest.skip("Helm is not installed: `make .tools/helm/.installed` does it (98 MB), and so does `make check`")
    order = {
        "chart": str(CHART),
        "versions": SUPPORTED,
        "examined": examined,
        "cases": [{"name": name, "values": each} for name in releases or ("bridge",) for each in cases.values()],
    }
    script = Path(__file__).with_name("render.py")
    done = subprocess.run(
        [PYTHON, script], input=json.dumps(order), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return Answer(**json.loads(done.stdout))


def manifests(rendered: Mapping[str, Any]) -> list[Manifest]:
    """Returns the objects of one rendering."""
    assert "error" not in rendered, rendered
    files = {path: text for path, text in rendered["files"].items() if path.endswith(".yaml")}
    return [one for text in files.values() for one in _parsed(text)]


@functools.cache
def _parsed(text: str) -> list[Manifest]:
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def of_kind(objects: list[Manifest], *kinds: str) -> list[Manifest]:
    """Returns the objects of these kinds."""
    return [one for one in objects if one["kind"] in kinds]


def named(objects: list[Manifest], kind: str, suffix: str) -> Manifest:
    """Returns the one object of this kind whose name ends so."""
    [found] = [one for one in of_kind(objects, kind) if one["metadata"]["name"].endswith(suffix)]
    return found


def pods(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yields the component and the pod template of each workload."""
    for one in of_kind(objects, "Deployment", "Job"):
        yield one["metadata"]["labels"]["app.kubernetes.io/component"], one["spec"]["template"]


def environment(pod: Manifest) -> dict[str, str]:
    """Returns the environment of a pod's only container."""
    [container] = pod["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container.get("env", ())}
