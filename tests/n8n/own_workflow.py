"""The example `n8n/examples/own-workflow.json` in N8N, and variants of it that a builder might make."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from textwrap import dedent
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from players import RealPlayer
from rest_service import PATH

from real_n8n import ROOT, WEBHOOK

KEY = "key-of-the-rest-service"
CREDENTIAL = {
    "id": "aigen-own-ai-key",
    "name": "AIGEN: key of your own AI service",
    "type": "httpBearerAuth",
    "data": {"token": KEY},
}
TIMEOUT = 10
"""Seconds that the AI service may take. The real one of the example is longer."""
OWN, FAILING, IMPATIENT, VERIFYING = "own", "own-failing", "own-impatient", "own-verifying"
"""The example; without "On Error: Continue" at the AI service, so that a lost call fails the execution; with one try at
the callback; verifying the bridge's signature as the page says."""
PATHS = {name: f"/webhook/aigen/{name}/generate" for name in (OWN, FAILING, IMPATIENT, VERIFYING)}
PAGE = ROOT / "docs/own-workflow.md"
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
    for name in PATHS:
        workflow = _with_settings(example(), settings)
        nodes = {node["name"]: node for node in workflow["nodes"]}
        nodes["A request arrives"]["parameters"]["path"] = f"aigen/{name}/generate"
        nodes["A request arrives"]["webhookId"] += f"-{name}"
        if name == FAILING:
            del nodes["Ask the AI service"]["onError"]
        if name == IMPATIENT:
            node = nodes["Write the event"]["parameters"]
            node["jsCode"] = node["jsCode"].replace("const TRIES = 240;", "const TRIES = 1;")
        if name == VERIFYING:
            _verify(workflow)
        yield workflow | {"id": f"aigen-{name}", "name": f"aigen-{name}"}


def _verify(workflow: dict[str, Any]) -> None:
    """Puts the nodes of the page's section on signatures between the webhook and the settings."""
    nodes = {node["name"]: node for node in workflow["nodes"]}
    webhook = nodes["A request arrives"]["parameters"]
    webhook["responseMode"], webhook["options"] = "responseNode", {"rawBody": True}
    accepted = {"respondWith": "json", "responseBody": '{"speaks": ["generation"]}'}
    added = [
        _node("Signed text", "code", 2, {"jsCode": _code("signed")}),
        nodes["Sign"]
        | _node("Bridge's HMAC", "crypto", 2, nodes["Sign"]["parameters"] | {"value": "={{ $json.text }}"}),
        _node("Is it signed?", "code", 2, {"jsCode": _code("compare")}),
        _node("Signed?", "if", 2.3, _condition(nodes["May it start?"]["parameters"], "={{ $json.isSigned }}")),
        _node("Say 202", "respondToWebhook", 1.5, accepted | {"options": {"responseCode": 202}}),
        _node("Say 401", "respondToWebhook", 1.5, {"respondWith": "noData", "options": {"responseCode": 401}}),
    ]
    workflow["nodes"] += added
    way = ["A request arrives", *(node["name"] for node in added[:-1]), "Settings"]
    for one, after in pairwise(way):
        workflow["connections"][one] = {"main": [[_end(after)]]}
    workflow["connections"]["Signed?"]["main"].append([_end("Say 401")])


def _code(label: str) -> str:
    found = re.search(rf"^ *```js {label}\n(.*?)^ *```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    return dedent(found[1])


def _node(name: str, kind: str, version: float, parameters: dict[str, Any]) -> dict[str, Any]:
    node = {"id": str(uuid5(NAMESPACE_URL, f"{VERIFYING}/{name}")), "name": name, "position": [0, 0]}
    return node | {"type": f"n8n-nodes-base.{kind}", "typeVersion": version, "parameters": parameters}


def _condition(parameters: dict[str, Any], expression: str) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(parameters))
    changed["conditions"]["conditions"][0]["leftValue"] = expression
    return changed


def _end(name: str) -> dict[str, Any]:
    return {"node": name, "type": "main", "index": 0}


def _with_settings(workflow: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    node = next(node for node in workflow["nodes"] if node["name"] == "Settings")
    fields = {field["name"]: field for field in node["parameters"]["assignments"]["assignments"]}
    for name, value in settings.items():
        fields[name]["value"] = value
    return workflow


class OwnPlayer(RealPlayer):
    """A real N8N, whose variants are those of the example."""

    def webhook(self, variant: str) -> str:
        return self._n8n.url + PATHS.get(variant, WEBHOOK)

    def launch(self) -> None:
        """Starts N8N and waits for the webhooks of the example."""
        self._n8n.start(*PATHS.values())

    def retry_last(self, variant: str) -> None:
        """Retries the newest failed execution of a variant; returns at its end."""
        self._n8n.retry_last_failed(f"aigen-{variant}")
