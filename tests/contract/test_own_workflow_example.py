"""The example of docs/own-workflow.md and its page: whole, safe, and in the words of the real contracts."""

import asyncio
import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from test_n8n_workflows import PERSONAL, PROVEN, SECRET, kind

from aigen_bridge.contracts.facts import read_facts
from aigen_bridge.contracts.generation import GenerationAsk, GenerationDecision, GenerationJob, GenerationProgress
from aigen_bridge.contracts.resources import CallbackReceipt, Wanted
from aigen_bridge.contracts.v1 import ImageRequested, callback_event
from aigen_bridge.domain.signature import secret_bytes, sign
from stage import KEYS, Stage

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/own-workflow.md").read_text()
TEXT = (ROOT / "n8n/examples/own-workflow.json").read_text()
WORKFLOW: dict[str, Any] = json.loads(TEXT)
NODES: dict[str, dict[str, Any]] = {node["name"]: node for node in WORKFLOW["nodes"]}
CONTRACTS = {
    "event": ImageRequested,
    "ask": GenerationAsk,
    "decision": GenerationDecision,
    "job": GenerationJob,
    "progress": GenerationProgress,
    "wanted": Wanted,
    "receipt": CallbackReceipt,
}
OTHERS = {"acknowledgement", "callback", "signature"}
"""Blocks that have a test of their own."""


def blocks(label: str | None = None) -> list[tuple[str, str]]:
    """Returns the JSON blocks of the page (with this label), each with its label."""
    found = re.findall(r"^```json *(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [(named, text) for named, text in found if label in {None, named}]


def ways(node: str) -> list[list[str]]:
    return [[end["node"] for end in way] for way in WORKFLOW["connections"].get(node, {"main": []})["main"]]


def test_every_json_block_of_the_page_names_its_contract() -> None:
    assert {label for label, _ in blocks()} == CONTRACTS.keys() | OTHERS


@pytest.mark.parametrize("label", CONTRACTS)
def test_bodies_and_answers_on_the_page_are_those_of_the_contracts(label: str) -> None:
    for _, text in blocks(label):
        parsed = CONTRACTS[label].model_validate_json(text, extra="forbid")
        assert parsed.model_dump(mode="json", by_alias=True, exclude_none=True) == json.loads(text)


def test_callbacks_on_the_page_are_accepted() -> None:
    events = [callback_event.validate_json(text) for _, text in blocks("callback")]
    assert [event.status for event in events] == ["completed", "failed", "completed"]
    assert all(event.execution_id == "231" for event in events)
    facts, ignored = read_facts(events[-1].generation, events[-1].cost)
    assert (ignored, facts.cost and facts.cost.basis) == ([], "estimated")
    assert facts.generation
    assert (facts.generation.model, facts.generation.negative_prompt) == ("example-image-1", "ignored")


def test_the_webhook_says_what_the_page_says() -> None:
    [(_, text)] = blocks("acknowledgement")
    assert json.loads(NODES["A request arrives"]["parameters"]["options"]["responseData"]) == json.loads(text)


def test_the_signature_on_the_page_is_that_of_the_bridge() -> None:
    [(_, text)] = blocks("signature")
    found = re.search(r"the secret `(\w+=*)`\s\(as\stext\s`(\w+)`\)\sand\sthe\sbody\s`(.+?)`", PAGE)
    assert found
    key = secret_bytes(found[1])
    at = datetime.fromtimestamp(int(json.loads(text)["webhook-timestamp"]), UTC)
    assert sign([key], "msg_5f0c6a7e_1", at, found[3].encode()) == json.loads(text)
    assert key == found[2].encode()


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed here (apt-get install curl)")
async def test_the_page_can_be_tried_with_curl(idle_stage: Stage) -> None:
    [script] = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    keys = {"BRIDGE": str(idle_stage.api.base_url), "ODOO_KEY": KEYS["odoo"], "N8N_KEY": KEYS["n8n"]}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euc", script), env=os.environ | keys, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)

    accepted, first, second, taken, third, resource = map(json.loads, output.splitlines())
    assert [one["decision"] for one in (first, second, third)] == ["start", "wait", "stop"]
    assert (taken["status"], taken["duplicate"]) == ("completed", False)
    assert (accepted["status"], resource["status"], resource["image"]["width"]) == ("queued", "completed", 64)


def test_the_page_names_every_node_of_the_example() -> None:
    named = set(re.findall(r"^\| (?:\d+ \| )?([A-Z][\w ?]+?)(?: \(.*?\))? \|", PAGE, re.MULTILINE))
    assert NODES.keys() <= named
    assert len(NODES) == 14


def test_the_example_is_whole_and_made_of_nodes_that_have_run() -> None:
    assert len({UUID(node["id"]) for node in NODES.values()}) == len(WORKFLOW["nodes"]) == len(NODES)
    assert {(kind(node), node["typeVersion"]) for node in NODES.values()} <= PROVEN
    assert all(node.get("webhookId") for node in NODES.values() if kind(node) in {"webhook", "wait"})
    assert set(re.findall(r"\$\('([^']+)'\)", TEXT)) <= NODES.keys()
    reached = {"A request arrives"}
    while more := {end for node in reached for way in ways(node) for end in way} - reached:
        reached |= more
    assert reached == NODES.keys()


def test_the_example_has_no_secret_and_nothing_personal() -> None:
    assert set(WORKFLOW) == {"id", "name", "active", "nodes", "connections", "settings"}
    assert SECRET.search(TEXT) is None
    assert PERSONAL.search(TEXT) is None
    assert all(set(one) == {"id", "name"} for node in NODES.values() for one in node.get("credentials", {}).values())


def test_nothing_is_submitted_without_a_grant_of_this_execution_that_is_still_valid() -> None:
    assert [name for name in NODES if any("Ask the AI service" in way for way in ways(name))] == ["May it start?"]
    assert ways("May it start?") == [["Ask the AI service"], []]
    submission = NODES["Ask the AI service"]
    written = re.search(r"^```\n(\{\{ .*?\}\})\n```", PAGE, re.DOTALL | re.MULTILINE)
    assert written
    assert submission["parameters"]["url"] == "=" + re.sub(r"\s+", " ", written[1])
    assert submission["onError"] == "continueRegularOutput"


def test_n8n_itself_repeats_only_the_question_to_the_bridge_within_the_life_of_a_grant() -> None:
    [repeated] = [node for node in NODES.values() if node.get("retryOnFail")]
    assert repeated["name"] == "Ask the bridge"
    tries, wait = repeated["maxTries"], repeated["waitBetweenTries"]
    assert tries * repeated["parameters"]["options"]["timeout"] + (tries - 1) * wait < 60_000


def test_each_key_goes_to_its_own_service_and_follows_no_redirect() -> None:
    used = {
        name: next(iter(node["credentials"].values()))["id"]
        for name, node in NODES.items()
        if kind(node) == "httpRequest"
    }
    assert used == {
        "Ask the bridge": "aigen-bridge-key",
        "Ask the AI service": "aigen-own-ai-key",
        "Send the result": "aigen-bridge-key",
    }
    for name in used:
        assert NODES[name]["parameters"]["options"]["redirect"] == {"redirect": {"followRedirects": False}}
