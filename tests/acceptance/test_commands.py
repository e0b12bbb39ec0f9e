"""The commands, as real processes: what a person types, sees, and gets as exit status."""

import asyncio
import hashlib
import json
import signal
import stat
from pathlib import Path

import httpx
import pytest

from processes import mentioning, run, started
from stage import CALLBACK, REQUESTS, make_event


@pytest.mark.parametrize(
    "command",
    [[], ["up"], ["serve"], ["worker"], ["migrate"], ["demo"], ["openapi"], ["doctor"], ["sim"], ["sim", "n8n"]],
)
def test_every_command_explains_itself(command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_missing_settings_stop_the_start_with_their_names_and_nothing_else(command: str, tmp_path: Path) -> None:
    done = run(command, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert "AIGEN_DATABASE_URL is missing." in lines
    assert ("AIGEN_CLIENTS is missing." in lines) == (command != "migrate")
    assert all(line.endswith("is missing.") for line in lines)


def test_a_database_that_is_away_stops_migrate_with_one_line(tmp_path: Path) -> None:
    done = run("migrate", environment={"AIGEN_DATABASE_URL": "postgresql://u:pw-secret@127.0.0.1:9/d"}, cwd=tmp_path)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert "pw-secret" not in done.stderr


def test_migrate_brings_an_empty_database_up_and_may_run_again(empty_database_url: str, tmp_path: Path) -> None:
    for _ in range(2):
        done = run("migrate", environment={"AIGEN_DATABASE_URL": empty_database_url}, cwd=tmp_path)
        assert (done.returncode, "at revision" in done.stdout) == (0, True), done.stderr


async def test_up_serves_a_request_to_its_image_with_nothing_configured(tmp_path: Path) -> None:
    async with started("up", "--port", "0", cwd=tmp_path, ready="Ready:") as bridge:
        path = tmp_path / ".aigen" / "clients.json"
        clients = json.loads(path.read_text())
        async with httpx.AsyncClient(base_url=bridge.url, verify=False) as api:
            headers = {"Authorization": f"Bearer {clients['odoo']['keys'][0]}"}
            asked = await api.post(REQUESTS, json=make_event(), headers=headers)
            for _ in range(400):
                found = (await api.get(asked.headers["location"], headers=headers)).json()
                if found["deliveredAt"]:
                    break
                await asyncio.sleep(0.05)  # a person's pace, below the rate limit
        bridge.process.send_signal(signal.SIGTERM)
        status = await bridge.process.wait()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(Path(".aigen") / "clients.json") in bridge.said
    assert all(client["keys"][0] not in bridge.said for client in clients.values())
    assert (found["status"], status) == ("completed", 0)


async def test_serve_answers_from_two_processes_and_stops_cleanly(configured: dict[str, str], tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--processes", "2")
    async with started(*arguments, environment=configured, cwd=tmp_path, ready="Application startup") as api:
        api.process.send_signal(signal.SIGTERM)
        assert await api.process.wait() in {0, -signal.SIGTERM}


def test_the_demo_delivers_and_leaves_the_image_and_nothing_running(tmp_path: Path) -> None:
    done = run("demo", "--prompt", "A red boat", "--size", "128x96", "--seed", "7", cwd=tmp_path)
    images = list((tmp_path / ".aigen").iterdir())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().endswith("delivered")
    for said in (
        "Number 3 in the queue",
        "Being made",
        "fal-ai/flux-lora at fal",
        "Seed     7 ",
        "Cost     0.00043008 USD",
    ):
        assert said in done.stdout
    assert [image.suffix for image in images] == [".png"]
    assert not mentioning(str(tmp_path))
    assert hashlib.sha256(images[0].read_bytes()).hexdigest() in done.stdout.replace("\n", "")


def test_the_demo_proves_that_the_image_in_odoo_is_marked(tmp_path: Path) -> None:
    done = run("demo", "--mark", "c2pa", "--size", "64x64", cwd=tmp_path, environment={"COLUMNS": "300"})
    [image] = (tmp_path / ".aigen").glob("*.png")

    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("Mark ")]
    assert "marked as made by AI: signed by aigen-bridge test certificate" in line
    assert run("marking", "check", str(image), cwd=tmp_path).returncode == 0


async def test_the_console_of_a_running_up_shows_what_the_demo_sends_with_keep(tmp_path: Path) -> None:
    async with started("up", "--port", "0", cwd=tmp_path, ready="Ready:") as bridge:
        assert f"console at {bridge.url}/console" in bridge.said
        done = await asyncio.to_thread(run, "demo", "--size", "64x64", "--keep", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        [image] = (tmp_path / ".aigen").glob("*.png")
        key = done.stdout.rpartition("sign in with the key of ops: ")[2].strip()
        assert f"{bridge.url}/console" in done.stdout
        async with httpx.AsyncClient(base_url=bridge.url, headers={"X-API-Key": key}, verify=False) as api:
            [shown] = (await api.get(REQUESTS)).json()["items"]
            assert (shown["requestId"], shown["status"]) == (image.stem, "completed")
            signed_in = await api.post("/console/sign-in", data={"key": key})
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/console")
    assert not (tmp_path / ".aigen" / "up.json").exists()


async def test_the_demo_keeps_its_own_bridge_with_a_console_where_no_up_runs(tmp_path: Path) -> None:
    (tmp_path / ".aigen").mkdir()
    (tmp_path / ".aigen" / "up.json").write_text('{"url": "http://127.0.0.1:9"}')  # of one that was killed
    async with started("demo", "--size", "64x64", "--keep", cwd=tmp_path, ready="Stop with Ctrl-C") as demo:
        url, _, key = (
            demo.said.partition("Console  ")[2].partition("\n")[0].partition("   sign in with the key of ops: ")
        )
        async with httpx.AsyncClient(verify=False) as browser:
            signed_in = await browser.post(f"{url.removesuffix('/console')}/console/sign-in", data={"key": key.strip()})
            assert signed_in.status_code == 303, demo.said


@pytest.mark.parametrize("size", ["big", "0x0", "12x99999"])
def test_the_demo_refuses_a_size_that_it_cannot_draw(size: str, tmp_path: Path) -> None:
    assert run("demo", "--size", size, cwd=tmp_path).returncode == 2


def test_a_demo_that_is_refused_says_why_and_fails(tmp_path: Path) -> None:
    done = run("demo", "--size", "32x32", cwd=tmp_path)
    assert done.returncode == 1
    assert "64 to 4096" in done.stdout.replace("\n", " ")
    assert CALLBACK not in done.stdout
