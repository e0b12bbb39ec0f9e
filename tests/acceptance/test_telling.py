"""`aigen-bridge requests`: a person sees what became of a request, and what comes next."""

import json
from pathlib import Path

import pytest
from test_operating import environment

from aigen_bridge.sim.faults import Fault, FaultKind
from processes import run
from stage import REQUESTS, Stage, working

WIDE = {"COLUMNS": "250"}


def told(stage: Stage, tmp_path: Path, *arguments: str, **more: str) -> str:
    done = run("requests", *arguments, environment=environment(stage) | WIDE | more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def refused_twice(idle_stage: Stage) -> str:
    """The id of a request that N8N took at the third try, and Odoo knows."""
    fault = Fault(kind=FaultKind.STATUS, route="webhook", status=503, times=2)
    idle_stage.chain.n8n.faults.add(fault)
    async with working(idle_stage.settings):
        asked = await idle_stage.ask()
        await idle_stage.until_delivered(asked["requestId"], seconds=60)
    return str(asked["requestId"])


def test_the_story_of_a_request(idle_stage: Stage, refused_twice: str, tmp_path: Path) -> None:
    story = told(idle_stage, tmp_path, "show", refused_twice)
    lines = story.splitlines()

    assert f"Request {refused_twice}: completed, version 3" in story
    assert [part for part in ("to N8N", "at N8N", "to Odoo", "Odoo         delivered at") if part not in story] == []
    assert any("dispatch #1 retry" in line and "503" in line and "http_503" in line for line in lines)
    assert any("dispatch #3 done" in line and "ms" in line for line in lines)
    assert "next         Nothing: Odoo has the outcome." in story
    url = f"{idle_stage.settings.public_url}{REQUESTS}/{refused_twice}"
    assert f"curl -H \"X-API-Key: $OPS_KEY\" '{url}/timeline'" in lines
    assert f"curl -H \"X-API-Key: $OPS_KEY\" -o image.png '{url}/image'" in lines


def test_colours_are_for_terminals(idle_stage: Stage, refused_twice: str, tmp_path: Path) -> None:
    assert "\x1b[" not in told(idle_stage, tmp_path, "show", refused_twice)
    assert "\x1b[1;32mcompleted" in told(idle_stage, tmp_path, "show", refused_twice, FORCE_COLOR="1", TERM="xterm")


async def test_what_comes_next_is_told_with_its_time(idle_stage: Stage) -> None:
    async def following(request_id: str) -> dict[str, str]:
        answer = await idle_stage.api.get(f"{REQUESTS}/{request_id}/timeline", headers=idle_stage.as_client("ops"))
        return dict(answer.json()["next"])

    waiting = (await idle_stage.ask())["requestId"]
    first = await following(waiting)
    faults = idle_stage.chain.n8n.faults
    faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, route="callback"))
    async with working(idle_stage.settings):
        await idle_stage.until(waiting, lambda r: r["status"] == "dispatched")
        second = await following(waiting)
        faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
        refused = (await idle_stage.ask())["requestId"]
        await idle_stage.until_delivered(refused)
        last = await following(refused)

    assert (first["what"], first["at"] is not None) == ("Attempt 1 to dispatch.", True)
    assert second["what"].startswith("Waiting for N8N's result.")
    assert second["at"] > first["at"]
    assert last["what"].startswith("Nothing automatic: dispatch failed for good (http_403).")
    assert last["deadLetter"].startswith("entry-")


async def test_failed_requests_of_the_last_hour_are_listed(idle_stage: Stage, tmp_path: Path) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    async with working(idle_stage.settings):
        failed = (await idle_stage.ask())["requestId"]
        await idle_stage.until_delivered(failed)
        fine = (await idle_stage.ask())["requestId"]
        await idle_stage.until_delivered(fine)
    listed = told(idle_stage, tmp_path, "list", "--failed", "--since", "1h")
    everything = json.loads(told(idle_stage, tmp_path, "list", "--json"))
    nothing = told(idle_stage, tmp_path, "list", "--failed", "--until", "1h")

    assert failed in listed
    assert "dispatch_failed" in listed
    assert fine not in listed
    assert [item["requestId"] for item in everything["items"]] == [fine, failed]
    assert nothing.strip() == "No such requests."


def test_contradicting_options_are_a_2(idle_stage: Stage, tmp_path: Path) -> None:
    wrong = ("list", "--failed", "--status", "completed")
    assert run("requests", *wrong, environment=environment(idle_stage), cwd=tmp_path).returncode == 2
