#!/usr/bin/env python3
"""Puts the code of `code/` into the Code nodes of the workflows, and back.

    python3 n8n/build.py           code/*.js → workflows
    python3 n8n/build.py --take    workflows → code/*.js, after editing in N8N; drops what an export adds
    python3 n8n/build.py --check   says what is not up to date

A Code node called "Read the AI answer" in aigen-main.json has its code in code/main/read-the-ai-answer.js.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORKFLOWS = {"main": HERE / "aigen-main.json", "dead-letter": HERE / "aigen-dead-letter.json"}
KEPT = ("id", "name", "active", "nodes", "connections", "settings")
"""What a workflow needs; an export also has versions, owners, dates and test data."""
CODE = "n8n-nodes-base.code"


def code_nodes(name: str, workflow: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
    """The Code nodes of a workflow, each with the file of its code."""
    for node in workflow["nodes"]:
        if node["type"] == CODE:
            yield node, HERE / "code" / name / f"{node['name'].lower().replace(' ', '-')}.js"


def text(workflow: dict[str, Any]) -> str:
    """A workflow as its file has it."""
    kept = {key: workflow[key] for key in KEPT if key in workflow} | {"active": False}
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def take(name: str, path: Path) -> None:
    """Write the code of the nodes into its files, and the workflow without what an export adds."""
    workflow = json.loads(path.read_text())
    for node, file in code_nodes(name, workflow):
        file.write_text(node["parameters"]["jsCode"].rstrip("\n") + "\n")
    path.write_text(text(workflow))


def built(name: str, path: Path) -> str:
    """The workflow with the code as its files have it."""
    workflow = json.loads(path.read_text())
    for node, file in code_nodes(name, workflow):
        node["parameters"]["jsCode"] = file.read_text()
    return text(workflow)


def main() -> int:
    """Do what the arguments say; 1 when something is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--take", action="store_true")
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    stale = []
    for name, path in WORKFLOWS.items():
        if chosen.take:
            take(name, path)
        elif path.read_text() != (wanted := built(name, path)):
            stale.append(path.name)
            if not chosen.check:
                path.write_text(wanted)
    if chosen.check and stale:
        sys.stderr.write(f"Not up to date: {', '.join(stale)}. Run: python3 n8n/build.py\n")
    return int(chosen.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
