"""`aigen-bridge doctor` as a process: what a person and a machine get, and the exit status."""

import asyncio
import json
import subprocess
from pathlib import Path

from test_operating import environment

from processes import run
from stage import CLIENTS, KEYS, Stage, working


async def doctor(stage: Stage, folder: Path, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run it beside the simulators, which live in this process."""
    surroundings = environment(stage) | {"AIGEN_CLIENTS": json.dumps(CLIENTS), "COLUMNS": "200"} | changes
    return await asyncio.to_thread(run, "doctor", *options, environment=surroundings, cwd=folder)


async def test_nothing_wrong_is_a_0_though_there_is_a_warning(idle_stage: Stage, tmp_path: Path) -> None:
    async with working(idle_stage.settings):
        done = await doctor(idle_stage, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    for text in (
        "✓ database",
        "✓ worker",
        "✓ Odoo",
        "✓ callback URL",
        "! N8N key",
        "→ Request an image",
        "! settings",
    ):
        assert text in done.stdout
    assert "Nothing is wrong, 2 warnings." in done.stdout
    assert done.stderr == ""


async def test_something_wrong_is_a_1_and_shows_no_secret(idle_stage: Stage, tmp_path: Path) -> None:
    done = await doctor(idle_stage, tmp_path, AIGEN_ODOO__URL="http://127.0.0.1:9")
    said = done.stdout + done.stderr

    assert done.returncode == 1
    assert "✗ Odoo" in done.stdout
    assert "✗ worker" in done.stdout
    assert "Traceback" not in said
    chain = idle_stage.chain
    for secret in (*KEYS.values(), chain.odoo.settings.api_key, chain.n8n.settings.key):
        assert secret not in said


async def test_a_machine_gets_json(idle_stage: Stage, tmp_path: Path) -> None:
    done = await doctor(idle_stage, tmp_path, "--json")
    told = json.loads(done.stdout)

    assert (done.returncode, told["status"]) == (1, "wrong")
    [worker] = [finding for finding in told["findings"] if finding["about"] == "worker"]
    assert worker["mark"] == "wrong"
    assert worker["found"] == "No worker is connected."
    assert worker["advice"].startswith("Start 'aigen-bridge worker'")


def test_nothing_configured_says_what_is_missing(tmp_path: Path) -> None:
    done = run("doctor", "--json", cwd=tmp_path)
    found = [finding["found"] for finding in json.loads(done.stdout)["findings"]]

    assert done.returncode == 1
    assert "AIGEN_DATABASE_URL is missing." in found
    assert "AIGEN_ODOO__API_KEY is missing." in found
