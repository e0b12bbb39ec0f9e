"""Earlier versions of the shipped workflow, as they were released (`earlier/`), beside the shipped one in one N8N."""

import json
from collections.abc import Mapping
from typing import Any

from aigen_bridge.sim.flux import MODEL, QUEUE
from real_n8n import ROOT, WEBHOOK

EARLIER = ("1.1.0", "1.2.0", "1.3.0")
"""1.1.0 asks only whether an image is still wanted; 1.2.0 asks before it pays, names its job and reports progress;
1.3.0 has fewer and cheaper nodes, but takes no model from the bridge's catalogue."""


def path_of(version: str) -> str:
    """Returns the path of the webhook of an earlier version."""
    return f"{WEBHOOK}/{version}"


def earlier_version(version: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an earlier workflow with an id and a path of its own, and with those settings that it knows."""
    workflow = dict(json.loads((ROOT / f"tests/n8n/earlier/{version}.json").read_text()))
    nodes = {node["name"]: node for node in workflow["nodes"]}
    webhook, own = nodes["A request arrives"], nodes["Settings"]["parameters"]
    webhook["parameters"]["path"] += f"/{version}"
    webhook["webhookId"] += f"-{version}"
    known = json.loads(own["jsonOutput"])["settings"]
    given = {name: value for name, value in settings.items() if name in known}
    if "aiMode" not in known:  # the synchronous service has another address than the queue
        given["aiUrl"] = given["aiUrl"].replace(QUEUE, MODEL)
    own["jsonOutput"] = json.dumps({"settings": known | given})
    return workflow | {"id": f"{workflow['id']}-{version}", "name": f"{workflow['name']}-{version}"}
