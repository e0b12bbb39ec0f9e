"""Renders a chart in many ways and validates what comes out. Runs with Helm and the API's schemas, in .tools/helm.

Reads `{"chart", "versions", "cases": [{"name", "values"}]}` and writes `{"rendered", "packed", "lint", "invalid"}`:

- `rendered`: of each case, `{"files": {path: text}}` or `{"error"}`;
- `packed`: the same of the first case, with the packed chart;
- `lint`, `invalid`: what Helm's lint and the schemas have to say about all of them.
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


def main() -> None:
    """Answers the order on standard input."""
    utils = kubernetes_validate.utils
    utils.schema_contents = functools.cache(utils.schema_contents)  # it would read megabytes for each manifest
    order = json.load(sys.stdin)
    with helm.Chart.load(order["chart"]) as chart:
        rendered = [_rendered(chart, case) for case in order["cases"]]
    good = [case for case, result in zip(order["cases"], rendered, strict=True) if "files" in result]
    texts = {text for result in rendered for path, text in result.get("files", {}).items() if path.endswith(".yaml")}
    documents = (one for text in texts for one in yaml.safe_load_all(text) if one)
    manifests = {json.dumps(document, sort_keys=True) for document in documents}
    invalid = [wrong for one in manifests for version in order["versions"] if (wrong := _invalid(one, version))]
    packed = _packed(order["chart"], order["cases"][0])
    lint = [*_lint(order["chart"], good)]
    json.dump({"rendered": rendered, "packed": packed, "lint": lint, "invalid": invalid}, sys.stdout)


if __name__ == "__main__":
    main()
