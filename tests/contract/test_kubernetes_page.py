"""docs/kubernetes.md: its values render, its manifests have the shape of their kind, its commands name what exists."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_deployment import ROOT, SERVICES

from aigen_bridge.cli.run import patience
from aigen_bridge.settings.sections import DatabaseSection, WorkerSettings
from kubernetes import chart
from kubernetes.cases import FULL, MINIMAL, Values, with_values
from kubernetes.chart import manifests

PAGE = (ROOT / "docs/kubernetes.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
VALUES = [block for block in BLOCKS if "apiVersion" not in block and "spec" not in block]
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
CLUSTER_FIELDS = {"instances", "imageName", "storage", "bootstrap", "postgresql", "resources", "plugins"}
"""Of the many fields of a CloudNativePG Cluster, those that the page uses."""


def _of_kind(kind: str) -> dict[str, Any]:
    [found] = [block for block in BLOCKS if block.get("kind") == kind]
    return dict(found)


def _set(text: str) -> Values:
    """Returns values as `--set` reads them."""
    values: Values = {}
    for name, value in (pair.split("=") for pair in text.split(",")):
        *sections, last = name.split(".")
        inner: Values = {last: yaml.safe_load(value)}
        for section in reversed(sections):
            inner = {section: inner}
        values = with_values(values, inner)
    return values


def test_every_example_of_values_renders_and_is_valid() -> None:
    cases = {str(number): with_values(MINIMAL, values) for number, values in enumerate(VALUES)}
    for values in cases.values():
        if any(values["secrets"].get(other) for other in ("external", "volume")):
            values["secrets"]["existingSecret"] = ""
    for name, text in re.findall(r"^(stopped|restored)=(\S+)$", PAGE, re.MULTILINE):
        cases[name] = with_values(FULL, _set(text))
    answer = chart.helm(cases, "aigen-bridge", examined=True)
    assert {"stopped", "restored"} <= set(cases)
    assert [rendered["error"] for rendered in answer.rendered if "error" in rendered] == []
    assert (answer.lint, answer.invalid) == ([], [])


def test_the_full_example_is_that_of_the_page() -> None:
    outside = next(values for values in VALUES if "ingress" in values)
    assert outside["settings"] == FULL["settings"]
    assert outside["secrets"] == FULL["secrets"]
    policies = next(values["networkPolicy"] for values in VALUES if "networkPolicy" in values)
    assert {name: policies[name] for name in policies if name != "extraEgress"} == FULL["networkPolicy"]


def test_the_cluster_of_cloudnativepg_is_one_that_loses_nothing() -> None:
    cluster = _of_kind("Cluster")
    assert cluster["apiVersion"] == "postgresql.cnpg.io/v1"
    assert set(cluster["spec"]) <= CLUSTER_FIELDS
    assert cluster["spec"]["bootstrap"] == {"initdb": {"database": "aigen", "owner": "aigen", "encoding": "UTF8"}}
    assert cluster["spec"]["postgresql"]["synchronous"] == {"method": "any", "number": 1}
    assert cluster["spec"]["instances"] >= 3
    parameters = cluster["spec"]["postgresql"]["parameters"]
    assert all(isinstance(value, str) for value in parameters.values())
    [most] = re.findall(r"= (\d+) for the numbers above", PAGE)
    assert int(parameters["max_connections"]) > int(most) == 7 * 10 + 7 * 7
    assert FULL["secrets"]["databaseUrl"]["secret"] == f"{cluster['metadata']['name']}-app"


def test_the_backups_are_those_of_that_cluster_by_the_plugin_that_archives() -> None:
    [addition] = [block["spec"] for block in BLOCKS if set(block) == {"spec"}]
    [plugin] = addition["plugins"]
    backup = _of_kind("ScheduledBackup")["spec"]
    assert set(backup) == {"schedule", "cluster", "method", "pluginConfiguration"}
    assert len(backup["schedule"].split()) == 6
    assert backup["cluster"]["name"] == _of_kind("Cluster")["metadata"]["name"]
    assert backup["pluginConfiguration"]["name"] == plugin["name"]
    assert plugin["isWALArchiver"] is True


def test_every_command_names_objects_that_there_are() -> None:
    [rendered] = chart.helm({"full": FULL}, "aigen-bridge").rendered
    known = {(one["kind"].lower(), one["metadata"]["name"]) for one in manifests(rendered)}
    kinds = {"deploy": "deployment", "service": "service", "job": "job"}
    named = re.findall(r"\b(deploy|service|job)/(aigen-bridge[\w-]*)", PAGE)
    assert len(named) > 5
    assert {(kinds[kind], name) for kind, name in named} <= known
    assert ("networkpolicy", "aigen-bridge-migrate") in known


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_a_shell_reads(command: str) -> None:
    done = subprocess.run(["bash", "-n"], input=command, check=False, capture_output=True, text=True)  # noqa: S607
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_secret_has_what_compose_gives_the_bridge() -> None:
    files = set(re.findall(r"--from-file=secrets/(\w+)", PAGE))
    assert files == set(SERVICES["api"]["secrets"]) - {"AIGEN_DATABASE_URL"}


def test_the_page_says_when_the_liveness_of_a_worker_fails() -> None:
    seconds = patience(WorkerSettings(), DatabaseSection()).total_seconds()
    assert f"for {seconds:.0f} s (with the default settings)" in PAGE


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        if path.startswith("https://"):
            continue
        file = (ROOT / "docs" / path) if path else Path(ROOT / "docs/kubernetes.md")
        assert file.exists(), target
        titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, target
