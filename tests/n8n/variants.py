"""The shipped workflow in other settings, side by side in one N8N: each with an id and a path of its own."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from real_n8n import ROOT, WEBHOOK

LORA_MODEL = "11111111-2222-4333-8444-555555555555"
CHANGES: dict[str, dict[str, Any]] = {
    "v1": {"callbackStyle": "v1"},
    "v1-url": {"callbackStyle": "v1-url"},
    "table": {
        "loras": {LORA_MODEL: {"path": "https://models.example.com/lighthouses.safetensors", "scale": 0.8}},
        "negativePrompt": "fold",
    },
    "broken": {"loras": None},  # the workflow crashes over it
}
PATHS = {name: f"{WEBHOOK}/{name}" for name in CHANGES}


def variants(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The workflows to add."""
    for name, change in CHANGES.items():
        workflow = json.loads((ROOT / "n8n/aigen-main.json").read_text())
        nodes = {node["name"]: node for node in workflow["nodes"]}
        webhook = nodes["A request arrives"]
        webhook["parameters"]["path"] += f"/{name}"
        webhook["webhookId"] += f"-{name}"
        nodes["Settings"]["parameters"]["jsonOutput"] = json.dumps({"settings": {**settings, **change}})
        yield workflow | {"id": f"{workflow['id']}-{name}", "name": f"{workflow['name']}-{name}"}
