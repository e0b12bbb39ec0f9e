"""`aigen-bridge odoos`: which database each Odoo has, and accepting one that was moved or replaced."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.odoos import Odoos
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import UNREACHABLE, make_event

FIRST, SECOND = "0d3f1b9c-1c1f-4a6e-9d3c-6a0f5b1c2d3e", "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55"
DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
BY = OperatorAction("ops")
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def north() -> AsyncIterator["North"]:
    odoo = OdooSimulator(OdooSettings(api_key="key-of-north", series="19.0", database_uuid=SECOND))
    async with serving(odoo.app) as url:
        yield North(odoo, url)


@dataclass(frozen=True)
class North:
    """The simulated Odoo named `north`."""

    odoo: OdooSimulator
    url: str

    @property
    def settings(self) -> dict[str, Any]:
        settings = self.odoo.settings
        login = {"login": settings.login, "api_key": settings.api_key}
        return {"url": self.url, "database": settings.database, **login}


@pytest.fixture
def run(configured: dict[str, str], north: North, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, with a reachable Odoo `north` and an unreachable default one."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log
    environment = configured | {"AIGEN_ODOOS": json.dumps({"north": north.settings}), "COLUMNS": "300"}

    async def run(*arguments: str, answer: str = "", **settings: str) -> Result:
        invoke = CliRunner().invoke
        return await asyncio.to_thread(invoke, app, arguments, answer, env=environment | settings)

    return run


async def cancelled(database: Database, odoo: str) -> str:
    """A cancelled request of this Odoo, whose delivery is pending."""
    requests = Requests(database, DEADLINES, PostgresImages(database))
    event = make_event()
    new = NewRequest(UUID(event["requestId"]), UUID(event["correlationId"]), event, odoo=odoo)
    await requests.accept(new)
    await cancel(requests, new.request_id, by="odoo")
    return str(new.request_id)


async def test_every_odoo_is_listed_with_its_database_breaker_and_backlog(
    run: Run, north: North, database: Database
) -> None:
    await cancelled(database, "north")
    await Odoos(database).confirm("north", FIRST, BY)
    await write(database, "INSERT INTO destinations (name, opened_at, probe_at) VALUES ('odoo:north', now(), now())")
    listed = (await run("odoos", "list")).stdout
    lines = {line.split("│")[1].strip(): line for line in listed.splitlines() if "│" in line}

    assert all(text in lines["north"] for text in (FIRST, north.url, north.odoo.settings.database, "open since"))
    assert [lines[name].split("│")[5].strip() for name in ("north", "default")] == ["1", "0"]
    assert all(text in lines["default"] for text in ("unknown", "closed", UNREACHABLE["odoo"]["url"]))


async def test_a_replaced_database_is_confirmed_and_recorded(run: Run, database: Database) -> None:
    await Odoos(database).confirm("north", FIRST, BY)
    done = await run("odoos", "confirm", "north", "--yes")

    assert (done.exit_code, await Odoos(database).known()) == (0, {"north": SECOND})
    assert all(text in done.stdout for text in (f"uuid until now: {FIRST}", f"uuid from now on: {SECOND}"))
    [(action, target, note)] = await rows(database, "SELECT action, target, note FROM operations WHERE client <> 'ops'")
    assert (action, target) == ("confirm", "odoo:north")
    assert FIRST in note
    assert SECOND in note


async def test_without_yes_it_asks_first(run: Run, database: Database) -> None:
    refused = await run("odoos", "confirm", "north", answer="n\n")
    assert (refused.exit_code, await Odoos(database).known()) == (1, {})
    confirmed = await run("odoos", "confirm", "north", answer="y\n")
    assert (confirmed.exit_code, await Odoos(database).known()) == (0, {"north": SECOND})


async def test_a_database_that_is_known_already_is_left_as_it_is(run: Run, database: Database) -> None:
    await Odoos(database).confirm("north", SECOND.upper(), BY)
    done = await run("odoos", "confirm", "north")
    assert (done.exit_code, "Nothing was changed" in done.stdout) == (0, True)
    assert await rows(database, "SELECT count(*) FROM operations") == [(1,)]


async def test_an_addon_that_tells_no_uuid_makes_the_bridge_forget_the_known_one(
    run: Run, north: North, database: Database
) -> None:
    north.odoo.settings = replace(north.odoo.settings, tells_database=False)
    await Odoos(database).confirm("north", FIRST, BY)
    done = await run("odoos", "confirm", "north", "--yes")

    assert (done.exit_code, await Odoos(database).known()) == (0, {})
    assert "The next delivery teaches it again" in done.stdout


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("default", 1, "Odoo default does not tell which database it has."),
        ("nowhere", 2, "There is no Odoo 'nowhere'. There is: default, north."),
    ],
)
async def test_an_odoo_that_does_not_answer_or_is_unknown_changes_nothing(
    run: Run, database: Database, name: str, status: int, said: str
) -> None:
    await Odoos(database).confirm("default", FIRST, BY)
    done = await run("odoos", "confirm", name, "--yes")
    assert (done.exit_code, said in done.stderr) == (status, True), done.output
    assert await Odoos(database).known() == {"default": FIRST}


async def test_a_refused_login_is_not_taken_for_an_old_addon(run: Run, north: North, database: Database) -> None:
    await Odoos(database).confirm("north", FIRST, BY)
    wrong = json.dumps({"north": north.settings | {"api_key": "another-key"}})
    done = await run("odoos", "confirm", "north", "--yes", AIGEN_ODOOS=wrong)
    assert (done.exit_code, await Odoos(database).known()) == (1, {"north": FIRST})
    assert "Nothing was changed" in done.stderr


async def test_requests_and_dead_letters_show_their_odoo(run: Run, database: Database) -> None:
    mine, theirs = await cancelled(database, "default"), await cancelled(database, "north")
    await write(database, "UPDATE outbox SET state = 'dead', finished_at = now(), error_code = 'x', error_detail = 'y'")
    listed = (await run("requests", "list", "--odoo", "north")).stdout
    letters = (await run("dead-letters", "list")).stdout

    assert theirs in listed
    assert "not delivered to Odoo north" in listed
    assert mine not in listed
    assert f"request {theirs} of Odoo north" in letters
    assert f"request {mine} " in letters
    assert "Odoo         north, not delivered yet" in (await run("requests", "show", theirs)).stdout


def test_a_new_key_names_the_odoo_that_its_client_speaks_for() -> None:
    made = CliRunner().invoke(app, ["keys", "new", "--client", "north", "--scope", "requests", "--odoo", "north"])
    assert '"scopes": ["requests"], "odoo": "north"' in made.stdout


@pytest.mark.parametrize("name", ["", "North", "north east"])
def test_no_key_is_made_for_a_name_that_no_odoo_can_have(name: str) -> None:
    """An empty name, such as that of an unset variable, would make a key for operators of every Odoo."""
    made = CliRunner().invoke(app, ["keys", "new", "--client", "north", "--scope", "ops", "--odoo", name])
    assert (made.exit_code, made.stdout) == (2, "")
    assert "Invalid value for '--odoo'" in made.stderr
