"""The workflows of `n8n/` by themselves: whole, free of secrets, and made of nodes that are known to work."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aigen_bridge.api.callbacks import KNOWN_PAYLOAD_VERSIONS
from aigen_bridge.domain.execution import UNKNOWN_WORDS
from aigen_bridge.sim.n8n_results import PAYLOAD_VERSION, WORKFLOW_VERSION

N8N = Path(__file__).parents[2] / "n8n"
NAMES = ("aigen-dead-letter", "aigen-main")
"""In the order in which they are brought in: the second one calls the first."""
WORKFLOWS: dict[str, dict[str, Any]] = {name: json.loads((N8N / f"{name}.json").read_text()) for name in NAMES}
CREDENTIALS = json.loads((N8N / "credentials.json").read_text())

PROVEN = {
    ("code", 2),
    ("crypto", 2),
    ("errorTrigger", 1),
    ("executeWorkflow", 1.3),
    ("executeWorkflowTrigger", 1.1),
    ("httpRequest", 4.5),
    ("if", 2.3),
    ("noOp", 1),
    ("respondToWebhook", 1.5),
    ("set", 3.4),
    ("stickyNote", 1),
    ("stopAndError", 1),
    ("switch", 3.4),
    ("wait", 1.1),
    ("webhook", 2.1),
}
"""Types and versions of nodes that `make e2e-n8n` runs. Another one belongs here once it has run there."""
STARTS = {"webhook", "errorTrigger", "executeWorkflowTrigger"}
SECRET = re.compile(r"whsec_\w|Bearer \w|Key [\w-]{12}|sha256:[0-9a-f]{16}|eyJ[\w-]{10}|[0-9a-f]{32}(?![0-9a-f-])")
ROUTE = (
    r"(?:route|way): (?:[\w.!= ']+ \? )?'([\w ]+)'(?: : (?:\w+ \? )?'([\w ]+)'(?: : '([\w ]+)')?)?"
    r"|(?:next|route) = .+ \? '(\w+)' : (?:'(\w+)')?"
)
"""How the code of a Code node names the ways that its item takes."""
PERSONAL = re.compile(r"[\w.+-]+@[\w-]+\.\w+|/home/|/Users/|\+\d{8}")

each = pytest.mark.parametrize("name", NAMES)


def kind(node: dict[str, Any]) -> str:
    return str(node["type"].removeprefix("n8n-nodes-base."))


def working(name: str) -> dict[str, dict[str, Any]]:
    """The nodes by name, without the notes."""
    return {node["name"]: node for node in WORKFLOWS[name]["nodes"] if kind(node) != "stickyNote"}


def outputs(node: dict[str, Any]) -> int:
    """How many ways out a node has."""
    if kind(node) == "switch":
        of_rules = len(node["parameters"].get("rules", {}).get("values", []))
        return int(node["parameters"].get("numberOutputs", of_rules))
    if node.get("onError") == "continueErrorOutput":
        return 2
    if kind(node) == "noOp":
        return int(any(node["name"] in WORKFLOWS[name]["connections"] for name in NAMES))
    return {"if": 2, "stopAndError": 0}.get(kind(node), 1)


def ways(name: str, node: str) -> list[list[str]]:
    """Where each way out of a node leads."""
    found = WORKFLOWS[name]["connections"].get(node, {"main": []})
    assert set(found) == {"main"}
    return [[end["node"] for end in way] for way in found["main"]]


def test_the_code_in_the_workflows_is_that_of_the_files() -> None:
    done = subprocess.run(
        [sys.executable, N8N / "build.py", "--check"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_no_file_of_code_is_left_over() -> None:
    names = {"main": "aigen-main", "dead-letter": "aigen-dead-letter"}
    files = {(path.parent.name, path.stem) for path in N8N.glob("code/*/*.js")}
    nodes = {
        (folder, node["name"].lower().replace(" ", "-"))
        for folder, name in names.items()
        for node in working(name).values()
        if kind(node) == "code"
    }
    assert files == nodes


@each
def test_ids_are_stable_and_names_unique(name: str) -> None:
    nodes = WORKFLOWS[name]["nodes"]
    assert WORKFLOWS[name]["id"] == WORKFLOWS[name]["name"] == name
    assert len({UUID(node["id"]) for node in nodes}) == len({node["name"] for node in nodes}) == len(nodes)
    assert all(node.get("webhookId") for node in nodes if kind(node) in {"webhook", "wait"})


@each
def test_only_nodes_that_have_run_on_a_real_n8n_are_used(name: str) -> None:
    used = {(kind(node), node["typeVersion"]) for node in WORKFLOWS[name]["nodes"]}
    assert all(node["type"].startswith("n8n-nodes-base.") for node in WORKFLOWS[name]["nodes"])
    assert used <= PROVEN


@each
def test_every_way_out_leads_to_a_node_and_every_node_is_reached(name: str) -> None:
    nodes = working(name)
    for node in nodes:
        leads = ways(name, node)
        assert len(leads) == outputs(nodes[node]), node
        assert all(leads), node
        assert {end for way in leads for end in way} <= set(nodes), node
    reached = {node for node in nodes if kind(nodes[node]) in STARTS}
    while more := {end for node in reached for way in ways(name, node) for end in way} - reached:
        reached |= more
    assert reached == set(nodes)


@each
def test_every_node_that_is_referred_to_exists(name: str) -> None:
    text = json.dumps(WORKFLOWS[name]["nodes"])
    referred = set(re.findall(r"\$\('([^']+)'\)", text))
    assert referred
    assert referred <= set(working(name))


@each
def test_there_is_no_secret_and_nothing_personal(name: str) -> None:
    text = (N8N / f"{name}.json").read_text()
    assert set(WORKFLOWS[name]) == {"id", "name", "active", "nodes", "connections", "settings"}
    assert SECRET.search(text) is None
    assert PERSONAL.search(text) is None
    for node in WORKFLOWS[name]["nodes"]:
        assert not {"pinData", "notesInFlow"} & set(node)
        assert all(set(reference) == {"id", "name"} for reference in node.get("credentials", {}).values())


def test_the_templates_of_credentials_hold_placeholders_only() -> None:
    values = [value for one in CREDENTIALS for key, value in one["data"].items() if key != "name"]
    assert all(re.fullmatch(r"(Key )?<\w+>", value) for value in values)


def test_every_credential_is_used_and_every_used_one_has_a_template() -> None:
    used = {
        (found["id"], found["name"], of_type)
        for name in NAMES
        for node in working(name).values()
        for of_type, found in node.get("credentials", {}).items()
    }
    assert used == {(one["id"], one["name"], one["type"]) for one in CREDENTIALS}


def test_the_main_workflow_leans_on_the_one_that_is_brought_in_before_it() -> None:
    hand_over = working("aigen-main")["Hand it over"]["parameters"]["workflowId"]["value"]
    assert WORKFLOWS["aigen-main"]["settings"]["errorWorkflow"] == hand_over == NAMES[0]
    shipped = re.search(r"const WORKFLOWS = (\[.*\])", (N8N / "prepare.js").read_text())
    assert shipped
    assert json.loads(shipped[1].replace("'", '"')) == list(NAMES)


def test_the_settings_that_are_shipped_are_those_of_the_workflow() -> None:
    shipped = json.loads((N8N / "settings.json").read_text())
    main, dead_letter = (
        json.loads(working(name)["Settings"]["parameters"]["jsonOutput"])["settings"]
        for name in ("aigen-main", "aigen-dead-letter")
    )
    assert main == shipped
    assert dead_letter.items() <= shipped.items()


def test_the_versions_are_the_same_everywhere() -> None:
    code = (N8N / "code/main/write-the-result.js").read_text()
    stops = [
        node["parameters"]["errorObject"] for node in working("aigen-main").values() if kind(node) == "stopAndError"
    ]
    versions = {re.search(r"const VERSION = '([^']+)'", code), *(re.search(r"Version: '([^']+)'", s) for s in stops)}
    assert {found[1] for found in versions if found} == {WORKFLOW_VERSION}
    assert f"payloadVersion: '{PAYLOAD_VERSION}'" in code
    assert PAYLOAD_VERSION in KNOWN_PAYLOAD_VERSIONS


def test_every_route_of_the_code_has_a_way_out() -> None:
    """Behind a Code node, or an If with a name for one route, each route of the item has its output."""
    nodes = working("aigen-main")
    for name, node in nodes.items():
        if "numberOutputs" not in node["parameters"]:
            continue
        known = set(re.findall(r"'([\w ]+)'", node["parameters"]["output"]))
        assert len(known) == outputs(node)
        assert routes_before(name) == known, name


def routes_before(name: str) -> set[str]:
    """The routes that Code nodes send to a node, without those that an If on the way takes elsewhere."""
    found: set[str] = set()
    nodes = working("aigen-main")
    for before, node in nodes.items():
        for number, way in enumerate(ways("aigen-main", before)):
            if name not in way:
                continue
            if kind(node) == "code":
                code = node["parameters"]["jsCode"]
                found |= {route for one in re.findall(ROUTE, code) for route in one if route}
            elif kind(node) in {"if", "respondToWebhook", "crypto"}:
                taken = re.findall(r"\$json\.(?:route|way) === '([\w ]+)'", json.dumps(node["parameters"]))
                found |= routes_before(before) - (set(taken) if kind(node) == "if" and number == 1 else set())
    return found


def test_the_webhook_says_that_the_workflow_speaks_the_protocol() -> None:
    webhook = working("aigen-main")["A request arrives"]["parameters"]
    acknowledged = working("aigen-main")["Acknowledge"]["parameters"]
    assert (webhook["responseMode"], webhook["options"]) == ("responseNode", {"rawBody": True})
    assert acknowledged["options"]["responseCode"] == 202
    assert json.loads(acknowledged["responseBody"]) == {"speaks": ["generation"]}


def test_the_raw_body_that_is_verified_comes_from_the_item_because_n8ns_binary_variable_has_no_bytes() -> None:
    value = working("aigen-main")["Sign as the bridge does"]["parameters"]["value"]
    assert "$input.first().binary.data.data.base64Decode()" in value
    assert not any("$binary." in (N8N / f"{name}.json").read_text() for name in NAMES)


def test_the_bridge_knows_the_words_of_an_execution_whose_request_it_did_not_know() -> None:
    earlier = (path.read_text() for path in (N8N.parent / "tests/n8n/earlier").glob("1.*.json"))
    assert all(UNKNOWN_WORDS in text for text in [json.dumps(WORKFLOWS["aigen-main"]), *earlier])


def test_nothing_is_submitted_without_a_grant_of_this_execution_that_is_still_valid() -> None:
    url = working("aigen-main")["Ask the AI service"]["parameters"]["url"]
    ask = "$('The question').first().json.ask"
    assert f"$json.body.decision === 'start' && {ask}.executionId === $execution.id" in url
    assert f"&& Date.now() < {ask}.askedAt + 1000 * ($json.body.validFor ?? 60) ?" in url
    assert url.endswith(": 'no-valid-grant' }}")


def calls(credential: str) -> dict[str, dict[str, Any]]:
    """The HTTP Request nodes of the main workflow that use a credential, by name."""
    return {
        name: node
        for name, node in working("aigen-main").items()
        if kind(node) == "httpRequest" and credential == node.get("credentials", {}).get("httpHeaderAuth", {}).get("id")
    }


def test_few_code_nodes_are_on_the_way_of_an_image_and_none_of_them_reads_it() -> None:
    node, passed = "A request arrives", []
    while next_nodes := [way[0] for way in ways("aigen-main", node)][:1]:
        passed.append(node := next_nodes[0])
    code = [name for name in passed if kind(working("aigen-main")[name]) == "code"]
    assert code == ["Check the event", "Read the submission", "Write the result"]
    assert not any("getBinaryData" in working("aigen-main")[name]["parameters"]["jsCode"] for name in code)
    assert passed[-1] == "Delivered"


def test_n8n_itself_repeats_only_calls_that_cost_nothing() -> None:
    repeated = {name for name, node in working("aigen-main").items() if node.get("retryOnFail")}
    assert repeated == {"Cancel the job", "Fetch the image"}


def test_each_key_goes_to_its_own_service_and_follows_no_redirect() -> None:
    ai, bridge = calls("aigen-ai-key"), calls("aigen-bridge-key")
    assert set(ai) == {"Ask the AI service", "Look at the job", "Fetch the result", "Cancel the job"}
    assert set(bridge) == {
        *("Ask the bridge", "Ask whether it is wanted", "Tell the bridge"),
        *("Send event and image", "Send the event alone", "Send it as version 1"),
    }
    for name, node in (ai | bridge).items():
        options = node["parameters"]["options"]
        assert options["redirect"] == {"redirect": {"followRedirects": False}}, name
        assert options["response"]["response"].items() >= {"fullResponse": True, "neverError": True}.items(), name
        assert options["timeout"], name
        assert node["onError"] == "continueRegularOutput", name


def test_no_node_waits_so_long_that_n8n_keeps_the_execution_in_its_database() -> None:
    code = working("aigen-main")["Read the decision"]["parameters"]["jsCode"]
    assert "said.retryAfter ?? 5), 60)" in code


def test_the_retries_are_those_of_the_specification() -> None:
    nodes = working("aigen-main")
    for code in ("Read the submission", "Read the AI answer"):
        assert "const RETRIES = 2;" in nodes[code]["parameters"]["jsCode"]
    assert "const RETRY_WAIT = 5;" in nodes["Read the submission"]["parameters"]["jsCode"]
    assert "const WAITS = [1, 2, 4];" in nodes["Read the bridge answer"]["parameters"]["jsCode"]
    for way in ("Send event and image", "Send the event alone", "Send it as version 1"):
        assert nodes[way]["parameters"]["options"]["timeout"] == 60_000
