"""deploy/prometheus, alertmanager and grafana: they check, they name what exists, and every alert has its runbook."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alarm import rendering
from monitoring import DEPLOY, prometheus, tool
from stage import Stage

ROOT = DEPLOY.parent
RULES = [
    rule for group in yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in (DEPLOY / "grafana/dashboards").glob("*.json")}
METRIC = re.compile(r"\b(aigen_[a-z0-9_]+|up)\b(?=[{\[)\s]|$)")
RUNBOOKS = (ROOT / "docs/operations.md").read_text()

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def checked(*command: str) -> str:
    """Run a check to its end; it must have nothing to complain about."""
    done = subprocess.run([tool(command[0]), *command[1:]], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def route_of(**labels: str) -> set[str]:
    """Who is told of an alert with these labels, as amtool says."""
    given = [f"{name}={value}" for name, value in labels.items()]
    config = "--config.file=deploy/alertmanager/alertmanager.yml"
    return set(checked("amtool", "config", "routes", "test", config, *given).strip().split(","))


# ---- the tools of Prometheus and Alertmanager


def test_promtool_accepts_the_configuration() -> None:
    checked("promtool", "check", "config", "deploy/prometheus/prometheus.yml")


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    checked("promtool", "test", "rules", "deploy/prometheus/rules.test.yml")


def test_amtool_accepts_the_configuration() -> None:
    checked("amtool", "check-config", "deploy/alertmanager/alertmanager.yml")


@pytest.mark.parametrize(
    ("severity", "team", "told"),
    [
        ("critical", "operations", {"operations-l1", "development-l2"}),
        ("critical", "n8n", {"n8n-l1", "operations-l2"}),
        ("warning", "n8n", {"n8n-l1", "operations-l2"}),
        ("warning", "operations", {"operations-l1"}),
        ("unheard", "of", {"operations-l1"}),
    ],
)
def test_whoever_the_specification_names_is_told(severity: str, team: str, told: set[str]) -> None:
    assert route_of(severity=severity, team=team) == told


# ---- what the rules say


@pytest.mark.parametrize(
    ("alert", "severity", "team"),
    [
        ("AigenWebhookFailing", "critical", "operations"),
        ("AigenCallbackFailing", "critical", "operations"),
        ("AigenWorkflowFailing", "critical", "n8n"),
        ("AigenWebhookSlow", "warning", "operations"),
        ("AigenCallbackSlow", "warning", "operations"),
        ("AigenWebhookErrorRate", "warning", "operations"),
        ("AigenCallbackErrorRate", "warning", "operations"),
        ("AigenEndToEndSlow", "warning", "operations"),
    ],
)
def test_every_row_of_the_specification_is_a_rule(alert: str, severity: str, team: str) -> None:
    [rule] = [rule for rule in RULES if rule["alert"] == alert]
    assert (rule["labels"]["severity"], rule["labels"]["team"]) == (severity, team)
    assert severity == "warning" or "for" not in rule  # critical: at once


@every_rule
def test_every_alert_has_its_entry_with_meaning_check_and_action(rule: dict[str, Any]) -> None:
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    entry = re.search(rf"^### {rule['alert']}\n(.*?)(?=^##|\Z)", RUNBOOKS, re.DOTALL | re.MULTILINE)

    assert (path, anchor) == ("docs/operations.md", rule["alert"].lower())
    assert entry
    assert all(part in entry[1] for part in ("**Means**", "**Look**", "**Do**"))


def test_no_runbook_is_about_an_alert_that_there_is_not() -> None:
    assert set(re.findall(r"^### (Aigen\w+)$", RUNBOOKS, re.MULTILINE)) == {rule["alert"] for rule in RULES}


@every_rule
def test_every_alert_has_a_test(rule: dict[str, Any]) -> None:
    tests = (DEPLOY / "prometheus/rules.test.yml").read_text()
    assert len(re.findall(rf"{rule['alert']}\b|Aigen\.\*Expiring", tests)) >= 1


def test_every_link_of_the_runbooks_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", RUNBOOKS):
        path, _, anchor = target.partition("#")
        text = (ROOT / "docs" / path).read_text() if path else RUNBOOKS
        assert not anchor or anchor in _anchors(text), target


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# ---- the shortened times of `make e2e-observe`


def test_the_run_with_faults_changes_nothing_but_times(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rendering.rules())
    checked("promtool", "check", "rules", str(tmp_path / "rules.yml"))
    faster = [rule for group in yaml.safe_load(rendering.rules())["groups"] for rule in group["rules"]]

    def timeless(rule: dict[str, Any]) -> dict[str, Any]:
        return rule | {"expr": re.sub(r"\[\w+\]", "[]", rule["expr"]), "for": "for" in rule}

    assert [timeless(rule) for rule in faster] == [timeless(rule) for rule in RULES]


@pytest.mark.parametrize(
    ("real", "short"), [("5m", "15000ms"), ("15m", "45000ms"), ("30s", "1500ms"), ("10s", "500ms")]
)
def test_times_are_divided(real: str, short: str) -> None:
    assert rendering.shorter(real) == short
    assert rendering.shorter("1m", least=12) == "12000ms"


# ---- what the dashboards show


def expressions() -> list[tuple[str, str]]:
    """Where each expression is, and the expression with Grafana's variables filled in."""
    shown = [
        (f"{name}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m"))
        for name, board in DASHBOARDS.items()
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]
    return shown + [(rule["alert"], rule["expr"]) for rule in RULES]


def test_dashboards_are_provisioned_with_ids_of_their_own() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/aigen.yml").read_text())["providers"][0]
    mounts = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["volumes"]

    assert set(DASHBOARDS) == {"integration-flow", "delivery-health", "one-request"}
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert any(mount.startswith("./deploy/grafana/dashboards:" + provider["options"]["path"]) for mount in mounts)
    for board in DASHBOARDS.values():
        panels = [panel for panel in board["panels"] if panel["type"] != "text"]
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.fixture
async def ran_once(stage: Stage) -> Stage:
    """A bridge that has carried a request."""
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    return stage


async def test_prometheus_knows_every_metric_and_can_work_out_every_expression(ran_once: Stage, tmp_path: Path) -> None:
    target = ran_once.settings.public_url.removeprefix("http://")
    async with prometheus(tmp_path, {"aigen-api": [target]}) as server:
        for _ in range(300):
            if await server.value('up{job="aigen-api"}') == 1:
                break
            await asyncio.sleep(0.1)
        families = set(await server.ask("metadata")) | {"up"}
        known = families | {
            f"{family}{part}" for family in families for part in ("_bucket", "_sum", "_count", "_total")
        }
        unknown = {(where, name) for where, expr in expressions() for name in METRIC.findall(expr) if name not in known}
        for _, expression in expressions():
            await server.ask("query", query=expression)
        shown = await server.value('aigen_end_to_end_seconds_count{status="completed"}')

    assert unknown == set()
    assert shown is not None
    assert shown >= 1
