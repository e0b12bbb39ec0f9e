"""Prometheus and Alertmanager of the profile `observe`, beside the bridge."""

from typing import Any

import httpx
import pytest

from compose.conftest import Images
from compose.project import Project, until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"


def _answer(url: str) -> Any:
    return httpx.get(url, timeout=10, trust_env=False).raise_for_status().json()["data"]


def _healthy() -> set[str]:
    """Returns the jobs of the targets that Prometheus reaches."""
    targets = _answer(f"{PROMETHEUS}/api/v1/targets")["activeTargets"]
    return {target["labels"]["job"] for target in targets if target["health"] == "up"}


def test_prometheus_reaches_the_bridge_and_alertmanager_becomes_healthy(project: Project, images: Images) -> None:
    images.need("nginx", "prometheus", "alertmanager")
    project.run("deploy/secrets.sh && docker compose build")
    key = project.path("secrets/AIGEN_ODOO__API_KEY")
    key.write_text(key.read_text() or "there is no Odoo yet")
    project.run("docker compose --profile observe up --detach --wait prometheus alertmanager api worker proxy")
    until(lambda: {"aigen-api", "aigen-worker"} <= _healthy(), "Prometheus reaches the API and the worker")
    [alertmanager] = _answer(f"{PROMETHEUS}/api/v1/alertmanagers")["activeAlertmanagers"]
    assert "alertmanager:9093" in alertmanager["url"]
    assert httpx.get(f"{ALERTMANAGER}/-/ready", trust_env=False).is_success
    project.run("docker compose --profile observe rm --force --stop prometheus alertmanager")
