"""The commands for operations, as real processes on a real database."""

import json
from pathlib import Path

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from callbacks import failed, report
from outages import rows, write
from processes import run
from stage import KEYS, Stage, working


def environment(stage: Stage) -> dict[str, str]:
    """The stage's settings for a process of its own."""
    sections = {**stage.chain.bridge, "clients": {"odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]}}}
    return {
        "AIGEN_DATABASE_URL": stage.settings.database_url.get_secret_value().replace("+psycopg", ""),
        "AIGEN_PUBLIC_URL": stage.settings.public_url,
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }


@pytest.fixture
async def given_up(idle_stage: Stage) -> str:
    """The id of a request that N8N refused for good; Odoo knows."""
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    async with working(idle_stage.settings):
        asked = await idle_stage.ask()
        await idle_stage.until_delivered(asked["requestId"])
    return str(asked["requestId"])


def test_nothing_to_do_is_said(idle_stage: Stage, tmp_path: Path) -> None:
    done = run("dead-letters", "list", environment=environment(idle_stage), cwd=tmp_path)

    assert (done.returncode, done.stdout.strip()) == (0, "There are no dead letters.")


def test_a_dead_letter_is_listed_shown_and_replayed(idle_stage: Stage, given_up: str, tmp_path: Path) -> None:
    settings = environment(idle_stage)
    listed = run("dead-letters", "list", "--json", environment=settings, cwd=tmp_path)
    name = json.loads(listed.stdout)["items"][0]["id"]
    shown = run("dead-letters", "show", name, environment=settings, cwd=tmp_path)
    told = run("dead-letters", "replay", "--all", "--dry-run", environment=settings, cwd=tmp_path)
    done = run("dead-letters", "replay", name, environment=settings, cwd=tmp_path)
    again = run("dead-letters", "replay", name, environment=settings, cwd=tmp_path)
    story = run("requests", "show", given_up, environment=settings, cwd=tmp_path)

    assert all(text in shown.stdout for text in ("http_403", given_up, "dispatch #1 dead", "curl -X POST"))
    assert told.stdout.strip() == f"Would replay 1 of 1: {name}"
    assert done.stdout.strip() == f"{name} is replayed; request {given_up} is queued."
    assert (again.returncode, "No dead letter" in again.stderr) == (1, True)
    assert "replayed by cli:" in story.stdout.replace("\n", "")
    assert "Traceback" not in shown.stderr + done.stderr + again.stderr


def test_a_failed_request_is_sent_again_by_its_id(idle_stage: Stage, given_up: str, tmp_path: Path) -> None:
    settings = environment(idle_stage)
    done = run("requests", "replay", given_up, environment=settings, cwd=tmp_path)
    again = run("requests", "replay", given_up, environment=settings, cwd=tmp_path)

    assert (done.returncode, done.stdout.strip()) == (0, f"Request {given_up} is queued and is sent again.")
    assert (again.returncode, f"Request {given_up} is queued" in again.stderr) == (1, True)
    assert "Wait for its result, or cancel it." in again.stderr


async def test_an_alert_that_belongs_to_no_request_is_replayed(
    idle_stage: Stage, database: Database, tmp_path: Path
) -> None:
    await write(database, "INSERT INTO incidents (cause, times) VALUES ('n8n_down', 1)")
    await write(
        database,
        """INSERT INTO outbox (incident_id, step, state, finished_at, error_code, error_detail)
           SELECT id, 'alert', 'dead', now(), 'alert_failed', 'nobody' FROM incidents""",
    )
    settings = environment(idle_stage)
    told = run("dead-letters", "replay", "entry-1", "--dry-run", environment=settings, cwd=tmp_path)
    done = run("dead-letters", "replay", "entry-1", environment=settings, cwd=tmp_path)

    assert told.stdout.strip() == "Would replay entry-1: alert."
    assert (done.returncode, done.stdout.strip()) == (0, "entry-1 is replayed.")
    assert await rows(database, "SELECT state FROM outbox ORDER BY id") == [("superseded",), ("pending",)]


async def test_a_callback_is_discarded_with_a_reason(idle_stage: Stage, tmp_path: Path) -> None:
    unknown = {
        "requestId": "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11",
        "correlationId": "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55",
    }
    await report(idle_stage, failed(unknown))
    settings = environment(idle_stage)
    done = run("dead-letters", "discard", "callback-1", "--reason", "a test", environment=settings, cwd=tmp_path)

    assert (done.returncode, done.stdout.strip()) == (0, "callback-1 is discarded.")


@pytest.mark.parametrize(
    "wrong", [["replay"], ["replay", "entry-1", "--all"], ["list", "--since", "soon"], ["discard", "entry-1"]]
)
def test_wrong_options_are_a_2(idle_stage: Stage, tmp_path: Path, wrong: list[str]) -> None:
    assert run("dead-letters", *wrong, environment=environment(idle_stage), cwd=tmp_path).returncode == 2
