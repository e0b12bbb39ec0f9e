"""Destinations over HTTP and by the command: who sees and changes which, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import CLIENTS, KEYS, UNREACHABLE, make_settings, serve_api

PATH = "/api/v1/ops/destinations"
NORTH_OPS = {"north-ops": {"keys": ["key-of-north-ops"], "scopes": ["ops"], "odoo": "north"}}
ODOOS = {"north": {**UNREACHABLE["odoo"], "concurrency": 8}}
REASON = "N8N moves to another machine."
OUTSIDE = ("/health/ready", "/metrics")
Call = Callable[..., Awaitable[httpx.Response]]
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def call(database_url: str) -> AsyncIterator[Call]:
    """Calls the API as a client."""
    settings = make_settings(database_url, clients=CLIENTS | NORTH_OPS, odoos=ODOOS)
    async with serve_api(settings) as api:

        async def call(method: str, path: str = "", *, by: str = "ops", **options: Any) -> httpx.Response:
            headers = {"X-API-Key": KEYS.get(by, f"key-of-{by}")}
            at = path if path in OUTSIDE else PATH + path
            return await api.request(method, at, headers=headers, **options)

        yield call


@pytest.fixture
def run(configured: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log
    environment = configured | {"AIGEN_ODOOS": json.dumps(ODOOS), "COLUMNS": "300"}

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["destinations", *arguments], env=environment)

    return run


async def listed(call: Call, by: str = "ops") -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (await call("GET", by=by)).json()["items"]}


async def test_a_destination_is_paused_limited_and_resumed_and_each_step_is_recorded(
    call: Call, database: Database
) -> None:
    before = await listed(call)
    assert list(before) == ["n8n", "odoo", "odoo:north"]
    assert {each["state"] for each in before.values()} == {"closed"}
    assert [each["concurrency"] for each in before.values()] == [None, 2, 8]

    paused = (await call("POST", "/n8n/pause", json={"reason": REASON})).json()
    assert (paused["state"], paused["pausedBy"], paused["pauseReason"]) == ("paused", "ops", REASON)
    assert paused["changed"]
    limited = (await call("PATCH", "/odoo:north", json={"concurrency": 3})).json()
    assert (limited["concurrency"], limited["configured"], limited["changed"]) == (3, 8, True)
    resumed = (await call("POST", "/n8n/resume", json={})).json()
    assert (resumed["state"], resumed["since"], resumed["pauseReason"], resumed["changed"]) == (
        "closed",
        None,
        None,
        True,
    )
    restored = (await call("PATCH", "/odoo:north", json={"concurrency": None})).json()
    assert (restored["concurrency"], restored["changed"]) == (8, True)

    what = "client, action, target, before, after, note, odoo"
    recorded = await rows(database, f"SELECT {what} FROM operations ORDER BY id")  # noqa: S608 - constants
    assert [row[:3] for row in recorded] == [
        ("ops", "pause", "destination n8n"),
        ("ops", "limit", "destination odoo:north"),
        ("ops", "resume", "destination n8n"),
        ("ops", "limit", "destination odoo:north"),
    ]
    assert recorded[1][3:] == ({"concurrency": None}, {"concurrency": 3}, None, "north")
    assert recorded[0][5:] == (REASON, None)


async def test_who_pauses_what_is_paused_is_told_by_whom_and_why(call: Call) -> None:
    await call("POST", "/odoo/pause", json={"reason": REASON})
    again = await call("POST", "/odoo:default/pause", json={"reason": "Mine."})
    assert again.status_code == 200
    assert (again.json()["changed"], again.json()["pauseReason"]) == (False, REASON)
    assert not (await call("POST", "/n8n/resume", json={})).json()["changed"]


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/nowhere/pause", {"reason": "x"}, 404, "destination_unknown"),
    ("POST", "/image/pause", {"reason": "x"}, 404, "destination_unknown"),
    ("POST", "/odoo:%00/pause", {"reason": "x"}, 404, "destination_unknown"),
    ("PATCH", "/odoo:south", {"concurrency": 1}, 404, "destination_unknown"),
    ("POST", "/n8n/pause", {}, 422, "invalid_message"),
    ("POST", "/n8n/pause", {"reason": " \u200b "}, 422, "invalid_message"),
    ("POST", "/n8n/pause", {"reason": "x" * 1001}, 422, "invalid_message"),
    ("POST", "/n8n/pause", {"reason": "x", "until": "noon"}, 422, "invalid_message"),
    ("POST", "/n8n/resume", {"reason": ""}, 422, "invalid_message"),
    ("PATCH", "/n8n", {}, 422, "invalid_message"),
    *(
        ("PATCH", "/n8n", {"concurrency": value}, 422, "invalid_message")
        for value in (0, -1, 2001, 10**30, "4", 2.5, True)
    ),
    ("PATCH", "/odoo", {"concurrency": 65}, 422, "invalid_message"),
]


async def test_what_is_wrong_is_refused_in_words_and_changes_nothing(call: Call, database: Database) -> None:
    for method, path, body, status, code in WRONG:
        answer = await call(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body)
    assert "1 to 64" in (await call("PATCH", "/odoo", json={"concurrency": 65})).text
    assert (await call("POST", "/n8n/pause", by="odoo", json={"reason": "x"})).status_code == 403
    assert await rows(database, "SELECT count(*) FROM operations") == [(0,)]
    assert {each["state"] for each in (await listed(call)).values()} == {"closed"}


async def test_an_operator_of_one_odoo_sees_n8n_and_changes_only_this_odoo(call: Call, database: Database) -> None:
    assert list(await listed(call, "north-ops")) == ["n8n", "odoo:north"]
    shared = await call("POST", "/n8n/pause", by="north-ops", json={"reason": "x"})
    assert (shared.status_code, shared.json()["code"]) == (403, "destination_shared")
    for body, path in (({"reason": "x"}, "/odoo/pause"), ({"reason": "x"}, "/odoo:default/pause")):
        other = await call("POST", path, by="north-ops", json=body)
        assert (other.status_code, other.json()["code"]) == (404, "destination_unknown")
        assert "odoo:default" not in other.json()["detail"] or "default/" in path
    assert (await call("PATCH", "/n8n", by="north-ops", json={"concurrency": 1})).status_code == 403
    assert (await call("POST", "/odoo:north/pause", by="north-ops", json={"reason": "x"})).status_code == 200
    assert (await call("PATCH", "/odoo:north", by="north-ops", json={"concurrency": 1})).status_code == 200
    assert await rows(database, "SELECT DISTINCT client, odoo FROM operations") == [("north-ops", "north")]


async def test_why_n8n_is_away_may_quote_a_request_and_is_for_operators_of_every_odoo(
    call: Call, database: Database
) -> None:
    await write(
        database,
        "UPDATE destinations SET opened_at = now(), probe_at = now() + interval '1 h', error_code = 'http_503', "
        "error_detail = 'It quotes a prompt.' WHERE name = 'n8n'",
    )
    for by, detail in (("ops", "It quotes a prompt."), ("north-ops", None)):
        found = (await listed(call, by))["n8n"]
        assert (found["state"], found["errorCode"], found["errorDetail"]) == ("open", "http_503", detail)


async def test_readiness_shows_a_pause_and_tells_a_stranger_no_reason(call: Call, database: Database) -> None:
    await write(database, "UPDATE destinations SET opened_at = now(), probe_at = now() WHERE name = 'odoo'")
    for name in ("n8n", "odoo"):
        await call("POST", f"/{name}/pause", json={"reason": REASON})
    answer = await call("GET", "/health/ready")
    states = answer.json()["destinations"]

    assert answer.status_code == 200
    assert {name: each["state"] for name, each in states.items()} == {
        "n8n": "paused",
        "odoo": "paused",
        "odoo:north": "ok",
    }
    assert states["n8n"]["since"] is not None
    assert states["odoo"]["probeAt"] is None
    assert REASON not in answer.text
    metrics = (await call("GET", "/metrics")).text
    assert 'aigen_destination_paused{destination="n8n"} 1.0' in metrics
    assert 'aigen_destination_paused{destination="odoo:north"} 0.0' in metrics


async def test_the_command_lists_pauses_limits_and_resumes(run: Run, database: Database) -> None:
    done = await run("pause", "odoo:north", "--reason", "An <b>upgrade</b>.")
    assert (done.exit_code, "odoo:north is paused" in done.stdout) == (0, True)
    again = await run("pause", "odoo:north", "--reason", "Mine.")
    assert again.exit_code == 0
    assert "Nothing was changed" in again.stdout
    assert "An <b>upgrade</b>." in again.stdout
    assert "The limit of odoo is 1 (set by an operator)." in (await run("limit", "odoo", "1")).stdout
    lines = {line.split("│")[1].strip(): line for line in (await run("list")).stdout.splitlines() if "│" in line}
    assert all(text in lines["odoo:north"] for text in ("paused since", "cli:", "An <b>upgrade</b>."))
    assert "1 (set by an operator)" in lines["odoo"]
    items = json.loads((await run("list", "--json")).stdout)["items"]
    assert [each["state"] for each in items] == ["closed", "closed", "paused"]

    assert json.loads((await run("resume", "odoo:north", "--json")).stdout)["changed"]
    assert "is not paused" in (await run("resume", "odoo:north")).stdout
    assert "The limit of odoo is 2." in (await run("limit", "odoo", "default")).stdout
    clients = await rows(database, "SELECT DISTINCT left(client, 4) FROM operations")
    assert clients == [("cli:",)]


WRONG_ARGUMENTS = [
    ("pause", "n8n"),
    ("pause", "n8n", "--reason", "  "),
    ("limit", "n8n", "many"),
    ("limit", "n8n"),
]


@pytest.mark.parametrize("arguments", WRONG_ARGUMENTS, ids=" ".join)
async def test_wrong_arguments_of_the_command_are_exit_status_2(
    run: Run, database: Database, arguments: tuple[str, ...]
) -> None:
    assert (await run(*arguments)).exit_code == 2
    assert await rows(database, "SELECT count(*) FROM operations") == [(0,)]


async def test_an_unknown_destination_or_a_limit_out_of_range_fails_the_command(run: Run) -> None:
    for arguments in (("pause", "nowhere", "--reason", "x"), ("limit", "odoo", "65"), ("limit", "odoo", "0")):
        assert (await run(*arguments)).exit_code != 0, arguments
    assert (await run("pause", "--help")).exit_code == 0
