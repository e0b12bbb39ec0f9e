"""Renders a chart in many ways and validates what comes out. Runs with Helm and the API's schemas, in .tools/helm.

Reads `{"chart", "versions", "examined", "cases": [{"name", "values"}]}` and writes `{"rendered"}`: of each case,
`{"files": {path: text}}` or `{"error"}`. If `examined`, also:

- `packed`: the same of the first case, with the packed chart;
- `lint`, `invalid`: the complaints of Helm's lint and of the schemas about all cases.
"""

import functools
import json
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

INFO = 1
"""A severity of `helm lint`: icons are recommended, and the like."""


def _rendered(chart: helm.Chart, case: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"files": chart.render(case["values"], name=case["name"], namespace="aigen", is_install=True)}
    except helm.HelmError as error:
        return {"error": str(error)}


def _lint(path: str, cases: list[dict[str, Any]]) -> Iterator[str]:
    for case in cases:
        found = helm.lint(path, case["values"], strict=True)
        yield from (f"{one['path']}: {one['error']}" for one in found["messages"] if one["severity"] > INFO)
        yield from found["errors"]


@functools.cache
def _invalid(manifest: str, version: str) -> str | None:
    """Returns what is wrong with a manifest. None: it is valid, or of a kind that the API does not know."""
    document = json.loads(manifest)
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return None
    except kubernetes_validate.ValidationError as error:
        return f"{version} {document['kind']} {list(error.path)}: {error.message}"
    return None


def _packed(path: str, case: dict[str, Any]) -> dict[str, Any]:
    """Returns what the packed chart renders."""
    with tempfile.TemporaryDirectory() as folder, helm.Chart.load(helm.package(path, destination=folder)) as chart:
        return _rendered(chart, case)


def _invalid_of(rendered: list[dict[str, Any]], versions: list[str]) -> Iterator[str]:
    utils = kubernetes_validate.utils
    utils.schema_contents = functools.cache(utils.schema_contents)  # it would read megabytes for each manifest
    texts = {text for one in rendered for path, text in one.get("files", {}).items() if path.endswith(".yaml")}
    documents = (one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one)
    for manifest in {json.dumps(document, sort_keys=True) for document in documents}:
        yield from (wrong for version in versions if (wrong := _invalid(manifest, version)))


def main() -> None:
    """Answers the order on standard input."""
    order = json.load(sys.stdin)
    cases = order["cases"]
    with helm.Chart.load(order["chart"]) as chart:
        answer = {"rendered": [_rendered(chart, case) for case in cases]}
    if order["examined"]:
        good = [case for case, result in zip(cases, answer["rendered"], strict=True) if "files" in result]
        answer["packed"] = _packed(order["chart"], cases[0])
        answer["lint"] = [*_lint(order["chart"], good)]
        answer["invalid"] = [*_invalid_of(answer["rendered"], order["versions"])]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
