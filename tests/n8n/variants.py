"""The shipped workflow with other settings, side by side in one N8N, each with its own id and path."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from old_workflow import old_workflow
from versions import earlier_version, path_of

from aigen_bridge.sim.flux import MODEL, QUEUE
from real_n8n import ROOT, WEBHOOK

LORA_MODEL = "11111111-2222-4333-8444-555555555555"
CHANGES: dict[str, dict[str, Any]] = {
    "v1": {"callbackStyle": "v1"},
    "v1-url": {"callbackStyle": "v1-url"},
    "table": {
        "loras": {LORA_MODEL: {"path": "https://models.example.com/lighthouses.safetensors", "scale": 0.8}},
        "negativePrompt": "fold",
    },
    "broken": {"loras": None},  # the workflow crashes on it
    "bug": {},  # the workflow crashes after asking whether it may start
}
OLD = "old"
"""Not a variant of the shipped workflow, but an older workflow."""
BEFORE = "1.3.0"
"""The released version before the shipped one."""
PATHS = {name: f"{WEBHOOK}/{name}" for name in (*CHANGES, OLD)} | {BEFORE: path_of(BEFORE)}


def variants(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the workflows to add."""
    for name, change in CHANGES.items():
        workflow = _shipped()
        nodes = {node["name"]: node for node in workflow["nodes"]}
        webhook = nodes["A request arrives"]
        webhook["parameters"]["path"] += f"/{name}"
        webhook["webhookId"] += f"-{name}"
        if name == "bug":
            nodes["Read the decision"]["parameters"]["jsCode"] = "return [{ json: nobody.knows.this }];"
            workflow["connections"]["Granted?"]["main"][0] = workflow["connections"]["Granted?"]["main"][1]
        nodes["Settings"]["parameters"]["jsonOutput"] = json.dumps({"settings": {**settings, **change}})
        yield workflow | {"id": f"{workflow['id']}-{name}", "name": f"{workflow['name']}-{name}"}
    yield earlier_version(BEFORE, settings)
    shipped = {node["name"]: node for node in _shipped()["nodes"]}
    named = {"webhook": "A request arrives", "ai": "Ask the AI service", "bridge": "Ask the bridge"}
    credentials = {use: shipped[name]["credentials"] for use, name in named.items()}
    yield old_workflow(settings["aiUrl"].replace(QUEUE, MODEL), PATHS[OLD].removeprefix("/webhook/"), credentials)


def _shipped() -> dict[str, Any]:
    return dict(json.loads((ROOT / "n8n/aigen-main.json").read_text()))
