"""The example `n8n/examples/own-workflow.json` in N8N, and variants of it that a builder might make."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from players import RealPlayer
from rest_service import PATH

from real_n8n import ROOT, WEBHOOK, RealN8n

KEY = "key-of-the-rest-service"
CREDENTIAL = {
    "id": "aigen-own-ai-key",
    "name": "AIGEN: key of your own AI service",
    "type": "httpBearerAuth",
    "data": {"token": KEY},
}
TIMEOUT = 10
"""Seconds that the AI service may take. The real one of the example is longer."""
OWN, FAILING = "own", "own-failing"
"""The example, and the example without "On Error: Continue" at the AI service: a lost call fails the execution."""
PATHS = {OWN: "/webhook/aigen/own/generate", FAILING: "/webhook/aigen/own/generate/failing"}
COST = {"amount": "0.04", "currency": "USD", "basis": "estimated"}


def example() -> dict[str, Any]:
    """Returns the example as it is shipped."""
    return dict(json.loads((ROOT / "n8n/examples/own-workflow.json").read_text()))


def own_workflows(bridge_url: str, service_url: str) -> Iterator[dict[str, Any]]:
    """Yields the workflows to add."""
    settings = {
        "bridgeUrl": bridge_url,
        "aiUrl": service_url + PATH,
        "aiTimeoutSeconds": TIMEOUT,
        "cost": json.dumps(COST),
    }
    yield _with_settings(example(), settings)
    failing = _with_settings(example(), settings)
    nodes = {node["name"]: node for node in failing["nodes"]}
    webhook = nodes["A request arrives"]
    webhook["parameters"]["path"] += "/failing"
    webhook["webhookId"] += "-failing"
    del nodes["Ask the AI service"]["onError"]
    yield failing | {"id": "aigen-own-failing", "name": "aigen-own-failing"}


def _with_settings(workflow: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    node = next(node for node in workflow["nodes"] if node["name"] == "Settings")
    fields = {field["name"]: field for field in node["parameters"]["assignments"]["assignments"]}
    for name, value in settings.items():
        fields[name]["value"] = value
    return workflow


class OwnPlayer(RealPlayer):
    """A real N8N, whose variants are those of the example."""

    def __init__(self, n8n: RealN8n) -> None:
        super().__init__(n8n)
        self._own = n8n

    def webhook(self, variant: str) -> str:
        return self._own.url + PATHS.get(variant, WEBHOOK)

    def launch(self) -> None:
        """Starts N8N and waits for the webhooks of the example."""
        self._own.start(*PATHS.values())

    def retry_last(self, variant: str) -> None:
        """Retries the newest failed execution of a variant; returns at its end."""
        self._own.retry_last_failed(f"aigen-{variant}")
