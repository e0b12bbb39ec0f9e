"""`aigen-bridge marking report` and `apply`: which images carry no mark, and marking them later."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from accepting import new, requests_of
from aigen_bridge.cli import app
from aigen_bridge.store.addons import Addons
from aigen_bridge.store.database import Database
from outages import rows, write

Run = Callable[..., Awaitable[Result]]
PERIOD = ("--since", "1h")
SIGNED: dict[str, Any] = {"found": ["c2pa"], "valid": True, "marked": None, "original_sha256": "0" * 64}
UNMARKED = SIGNED | {"found": [], "valid": None}
INVALID = "a C2PA manifest (NOT VALID) and metadata that says that AI made it"
MARKED = UNMARKED | {"marked": "metadata"}
IMAGE = """'{"format": "png", "size": 1, "width": 64, "height": 64, "sha256": "00"}'"""


@pytest.fixture
def run(configured: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log

    async def run(*arguments: str, mode: str = "metadata", of: str = "marking") -> Result:
        env = configured | {"AIGEN_MARKING__MODE": mode, "COLUMNS": "200"}
        return await asyncio.to_thread(CliRunner().invoke, app, [of, *arguments], env=env)

    return run


async def image(database: Database, provenance: dict[str, Any] | None, **changes: str) -> str:
    """Plants a request whose image was delivered. `changes` are SQL expressions by column."""
    request = new()
    await requests_of(database).accept(request)
    values = {"status": "'completed'", "completed_at": "now()", "image": IMAGE, "provenance": "CAST(:p AS jsonb)"}
    assigned = ", ".join(f"{column} = {value}" for column, value in (values | changes).items())
    await write(
        database,
        f"UPDATE requests SET {assigned} WHERE request_id = :id",  # noqa: S608 - of these tests
        id=request.request_id,
        p=json.dumps(provenance) if provenance else None,
    )
    await write(database, "DELETE FROM outbox WHERE step = 'dispatch'")
    return str(request.request_id)


async def waiting(database: Database) -> dict[str, float]:
    """Returns what waits to be marked, with the seconds after the first one."""
    due = await rows(
        database,
        "SELECT request_id, extract(epoch FROM due_at - min(due_at) OVER ()) FROM outbox WHERE step = 'mark'",
    )
    return {str(request_id): float(seconds) for request_id, seconds in due}


async def test_the_report_lists_what_carries_no_mark_and_says_what_nobody_examined(
    run: Run, database: Database
) -> None:
    unmarked, unexamined = await image(database, UNMARKED), await image(database, None)
    for provenance in (SIGNED, MARKED):
        await image(database, provenance)
    await image(database, UNMARKED, image_purged_at="now()")
    early = await image(database, UNMARKED, created_at="now() - interval '2 hours'")

    shown, as_json, as_csv = [await run("report", *PERIOD, *more) for more in ((), ("--json",), ("--csv",))]
    lines = shown.output.splitlines()

    assert shown.exit_code == 0, shown.output
    assert (f"  {unmarked}  no mark  for " in lines[0], lines[-1]) == (True, "2 images without a valid mark.")
    assert f"  {unexamined}  not examined: completed by an older version  for " in lines[1]
    assert [json.loads(line)["requestId"] for line in as_json.output.splitlines()] == [unmarked, unexamined]
    assert [row["examined"] for row in csv.DictReader(io.StringIO(as_csv.output))] == ["True", "False"]
    whole = await run("report", "--since", "3h", "--until", "90m", "--csv")
    assert [row["requestId"] for row in csv.DictReader(io.StringIO(whole.output))] == [early]


async def test_a_manifest_that_is_not_valid_is_no_mark(run: Run, database: Database) -> None:
    broken = await image(database, SIGNED | {"valid": False})
    await image(database, SIGNED | {"valid": None})
    await image(database, SIGNED | {"valid": False, "marked": "c2pa"})
    shown, as_json = [await run("report", *PERIOD, *more) for more in ((), ("--json",))]

    assert f"  {broken}  its own C2PA manifest is not valid  for " in shown.output.splitlines()[0]
    assert [(each["requestId"], each["invalidManifest"]) for each in map(json.loads, as_json.output.splitlines())] == [
        (broken, True)
    ]


async def test_where_everything_is_marked_the_report_says_so(run: Run, database: Database) -> None:
    await image(database, MARKED)
    assert (await run("report", *PERIOD)).output == "There are no images without a valid mark.\n"


async def test_apply_enqueues_each_image_once_at_the_given_rate(run: Run, database: Database) -> None:
    wanted = [await image(database, UNMARKED), await image(database, None)]
    for provenance in (SIGNED, MARKED):
        await image(database, provenance)

    tried = await run("apply", *PERIOD, "--dry-run")
    assert (tried.output, await waiting(database)) == ("Would mark 2 images. Nothing was changed.\n", {})
    assert await rows(database, "SELECT FROM operations WHERE action = 'mark'") == []

    first, second = [await run("apply", *PERIOD, "--max-per-second", "4", "--reason", "asked") for _ in range(2)]
    assert first.output.startswith("The workers will mark 2 images, 4 per second.\n")
    assert "links stay valid, and nobody is notified" in first.output
    assert second.output.startswith("There are no images to mark")
    assert await waiting(database) == {wanted[0]: 0, wanted[1]: pytest.approx(0.25)}
    recorded = await rows(database, "SELECT client, note, after FROM operations WHERE action = 'mark' ORDER BY id")
    assert [(client.startswith("cli:"), note, after["mode"]) for client, note, after in recorded] == [
        (True, "asked", "metadata")
    ] * 2


async def test_apply_signs_what_the_service_has_signed_only_in_the_mode_c2pa(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await image(database, SIGNED)
    for name in ("certificate", "key"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"AIGEN_MARKING__{name.upper()}", str(tmp_path / name))

    assert (await run("apply", *PERIOD, "--dry-run")).output.startswith("Would mark 0 images.")
    assert (await run("apply", *PERIOD, "--dry-run", mode="c2pa")).output.startswith("Would mark 1 image.")


async def test_apply_refuses_while_nothing_is_marked(run: Run, database: Database) -> None:
    await image(database, UNMARKED)
    refused = await run("apply", *PERIOD, mode="off")

    assert (refused.exit_code, await waiting(database)) == (2, {})
    assert "AIGEN_MARKING__MODE is off" in refused.output
    assert (await run("apply", "--since", "1h", "--until", "2h")).exit_code == 2
    assert (await run("apply")).exit_code == 2  # without a period it would be everything


@pytest.mark.parametrize(
    ("odoo", "version", "is_refused"),
    [
        ("default", "18.0.1.6.0", True),
        ("default", None, True),
        ("default", "18.0.1.7.0", False),
        ("default", "19.0.1.10.0", False),
        ("gone", "18.0.1.6.0", False),  # it is not in the settings any more
    ],
)
async def test_apply_refuses_while_an_addon_would_ignore_the_marked_image(
    run: Run, database: Database, odoo: str, version: str | None, *, is_refused: bool
) -> None:
    await image(database, UNMARKED)
    await Addons(database).note(odoo, version)
    applied = await run("apply", *PERIOD)

    assert (applied.exit_code, len(await waiting(database))) == ((2, 0) if is_refused else (0, 1)), applied.output
    assert ("must have version 1.7.0" in applied.output) == is_refused
    assert len(await rows(database, "SELECT FROM operations WHERE action = 'mark'")) == (not is_refused)


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        (MARKED, "by the bridge, in its metadata; came with no mark"),
        (SIGNED, "not by the bridge; came with a C2PA manifest (valid)"),
        (
            SIGNED | {"found": ["c2pa", "digitalSourceType"], "valid": False, "marked": "c2pa"},
            f"by the bridge, with a signed C2PA manifest; came with {INVALID}",
        ),
        (None, None),
    ],
)
async def test_the_story_of_a_request_says_how_its_image_is_marked(
    run: Run, database: Database, provenance: dict[str, Any] | None, said: str | None
) -> None:
    request_id = await image(database, provenance)
    shown = await run("show", request_id, of="requests")

    marked = [line.partition("marked")[2].strip() for line in shown.output.splitlines() if "  marked " in line]
    assert (shown.exit_code, marked) == (0, [said] if said else []), shown.output
