"""A client of one Odoo learns nothing of the requests of another: they answer as requests that do not exist."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine import Engine

from aigen_bridge.api.app import describe
from aigen_bridge.store.database import Database
from callbacks import CALLBACK_V2, completed, failed
from outages import rows, write
from stage import CALLBACK, KEYS, REQUESTS, UNREACHABLE, make_event, make_settings, serve_api

OPS = "/api/v1/ops"
LETTERS = f"{OPS}/dead-letters"
ODOOS = ("default", "north")
HEALTH = {("get", "/health/live"), ("get", "/health/ready")}
CATALOGUE = {
    ("get", "/api/v1/influencegen/models"),
    ("get", "/api/v1/influencegen/models/{modelId}"),
    ("put", f"{OPS}/models/{{modelId}}"),
    ("delete", f"{OPS}/models/{{modelId}}"),
}
"""The models belong to every Odoo. tests/integration/test_models.py proves that operators of one Odoo change none."""
MONEY = {
    ("get", "/api/v1/influencegen/usage"),
    ("get", "/api/v1/influencegen/budgets"),
    ("get", f"{OPS}/budgets"),
    ("get", f"{OPS}/budgets/{{name}}"),
    ("put", f"{OPS}/budgets/{{name}}"),
    ("delete", f"{OPS}/budgets/{{name}}"),
}
"""Sums and budgets. tests/integration/test_usage.py and test_budgets_api.py prove which of them a caller sees."""
REPLAYS = {
    ("post", f"{OPS}/replays"),
    ("get", f"{OPS}/replays"),
    ("get", f"{OPS}/replays/{{id}}"),
    ("post", f"{OPS}/replays/{{id}}/stop"),
}
"""Replays of many. tests/integration/test_background_replays.py proves whose an operator of one Odoo sees and stops."""
DESTINATIONS = {
    ("get", f"{OPS}/destinations"),
    ("post", f"{OPS}/destinations/{{name}}/pause"),
    ("post", f"{OPS}/destinations/{{name}}/resume"),
    ("patch", f"{OPS}/destinations/{{name}}"),
}
"""N8N and the Odoos. tests/integration/test_destinations_api.py proves who sees and changes which."""
TABLES = ("requests", "outbox", "request_changes", "images", "generations", "provider_jobs", "executions")
SAVED = "SELECT CAST(t AS text) FROM {name} AS t WHERE CAST(request_id AS text) = ANY (:ids)"
FAIL = """UPDATE requests SET status = 'failed', failed_by = 'bridge', error_code = 'timed_out', version = version + 1,
    error_message = 'N8N said nothing.', completed_at = now() WHERE request_id = :request_id"""
DIE = """UPDATE outbox SET state = 'dead', finished_at = now(), attempts = 4, error_code = 'http_503',
    error_detail = 'away' WHERE request_id = :request_id"""
BREAK = """UPDATE requests SET event = '{"secret": "of another Odoo"}' WHERE request_id = :request_id"""
UNREADABLE_IMAGE = """UPDATE requests SET image = '{"secret": 1}' WHERE request_id = :request_id"""


def client(odoo: str | None, *scopes: str) -> dict[str, Any]:
    return {"keys": ["-".join([str(odoo), *scopes])], "scopes": scopes, "odoo": odoo}


CLIENTS = {
    **{f"{scope} of {odoo}": client(odoo, scope) for odoo in ODOOS for scope in ("requests", "ops", "callbacks")},
    "everyone's n8n": {"keys": [KEYS["n8n"]], "scopes": ["callbacks"]},
    "operators": {"keys": [KEYS["ops"]], "scopes": ["ops"]},
    "odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]},
    "all in one": client(None, "requests", "ops"),
}


@dataclass(frozen=True)
class Target:
    """What a call is about: a request, and the name of a dead letter."""

    request_id: str
    correlation_id: str
    letter: str

    def event(self) -> dict[str, Any]:
        return {"requestId": self.request_id, "correlationId": self.correlation_id}


@dataclass(frozen=True)
class Scene:
    """The API, and what each Odoo has: requests in every state, and dead letters."""

    api: httpx.AsyncClient
    database: Database
    owned: dict[str, list[Target]]

    def as_client(self, name: str) -> dict[str, str]:
        return {"X-API-Key": str(CLIENTS[name]["keys"][0])}


@pytest.fixture
async def scene(database_url: str, database: Database) -> AsyncIterator[Scene]:
    settings = make_settings(database_url, clients=CLIENTS, odoos={"north": UNREACHABLE["odoo"]})
    async with serve_api(settings) as api:
        scene = Scene(api, database, {odoo: [] for odoo in ODOOS})
        for odoo in ODOOS:
            kinds = ("open", "done", "dead", "broken")
            scene.owned[odoo] += await asyncio.gather(*(prepare(scene, odoo, kind) for kind in kinds))
        yield scene


async def ask(scene: Scene, odoo: str, **fields: Any) -> httpx.Response:
    return await scene.api.post(REQUESTS, json=make_event(**fields), headers=scene.as_client(f"requests of {odoo}"))


async def prepare(scene: Scene, odoo: str, kind: str) -> Target:
    """Makes a request of this Odoo with a dead letter."""
    asked = (await ask(scene, odoo)).json()
    number = {"request_id": asked["requestId"]}
    n8n = scene.as_client("everyone's n8n")
    if kind == "dead":
        await write(scene.database, FAIL, **number)
        await write(scene.database, DIE, **number)
        [(entry,)] = await rows(scene.database, "SELECT id FROM outbox WHERE request_id = :request_id", **number)
        return Target(asked["requestId"], asked["correlationId"], f"entry-{entry}")
    if kind == "done":
        assert (await scene.api.post(CALLBACK, json=completed(asked, PNG), headers=n8n)).status_code == 202
    await scene.api.post(CALLBACK, json=completed(asked, PNG, hashValue="0" * 64), headers=n8n)
    query = "SELECT max(id) FROM quarantine WHERE request_id = :request_id"
    [(callback,)] = await rows(scene.database, query, **number)
    if kind == "broken":
        await write(scene.database, UNREADABLE_IMAGE, **number)
        await write(scene.database, BREAK, **number)
    return Target(asked["requestId"], asked["correlationId"], f"callback-{callback}")


Call = Callable[[Target], dict[str, Any]]
"""Builds the arguments of a call about a target."""


def plain(path: str, **arguments: Any) -> Call:
    return lambda target: {"url": path.format(id=target.request_id, letter=target.letter), **arguments}


def with_event(path: str, **fields: Any) -> Call:
    return lambda target: {"url": path.format(id=target.request_id), "json": target.event() | fields}


def generating(path: str, **fields: Any) -> Call:
    ids = {"executionId": "231", "askKey": "7f0c"}
    return lambda target: {
        "url": f"{REQUESTS}/{target.request_id}/generation{path}",
        "json": {"correlationId": target.correlation_id, **(ids if not path else {"executionId": "231"}), **fields},
    }


def in_parts(target: Target) -> dict[str, Any]:
    return {"url": CALLBACK_V2, "files": {"event": (None, json.dumps(failed(target.event())).encode())}}


def of_ids(target: Target) -> dict[str, Any]:
    return {"url": REQUESTS, "params": {"ids": target.request_id}}


ONE = REQUESTS + "/{id}"
JOB = {"provider": "fal.ai", "jobId": "job-1"}
PNG = (Path(__file__).parents[1] / "lighthouse.png").read_bytes()
REASON = {"reason": "a test"}
WALK: dict[tuple[str, str], tuple[str, Call]] = {
    ("get", REQUESTS): ("requests", of_ids),
    ("get", f"{REQUESTS}/{{requestId}}"): ("requests", plain(ONE)),
    ("get", f"{REQUESTS}/{{requestId}}/image"): ("requests", plain(f"{ONE}/image")),
    ("get", f"{REQUESTS}/{{requestId}}/timeline"): ("requests", plain(f"{ONE}/timeline")),
    ("post", f"{REQUESTS}/{{requestId}}/cancel"): ("requests", plain(f"{ONE}/cancel")),
    ("post", f"{REQUESTS}/{{requestId}}/generation"): ("callbacks", generating("")),
    ("put", f"{REQUESTS}/{{requestId}}/generation/job"): ("callbacks", generating("/job", **JOB)),
    ("put", f"{REQUESTS}/{{requestId}}/generation/progress"): ("callbacks", generating("/progress", stage="queued")),
    ("get", f"{REQUESTS}/{{requestId}}/wanted"): ("callbacks", plain(f"{ONE}/wanted?executionId=231")),
    ("post", CALLBACK): ("callbacks", with_event(CALLBACK, status="failed", errorCode="x", errorMessage="y")),
    ("post", CALLBACK_V2): ("callbacks", in_parts),
    ("post", f"{OPS}/n8n-failures"): ("callbacks", with_event(f"{OPS}/n8n-failures", errorMessage="It crashed.")),
    ("get", f"{LETTERS}/{{id}}"): ("ops", plain(f"{LETTERS}/{{letter}}")),
    ("post", f"{LETTERS}/{{id}}/replay"): ("ops", plain(f"{LETTERS}/{{letter}}/replay")),
    ("post", f"{LETTERS}/{{id}}/discard"): ("ops", plain(f"{LETTERS}/{{letter}}/discard", json=REASON)),
    ("post", f"{OPS}/requests/{{requestId}}/replay"): ("ops", plain(f"{OPS}/requests/{{id}}/replay")),
    ("post", f"{OPS}/requests/{{requestId}}/complete"): ("ops", plain(f"{OPS}/requests/{{id}}/complete", content=PNG)),
}
"""Every operation about one request or dead letter, the scope of its callers, and a call."""
LISTS = {("get", LETTERS), ("post", f"{LETTERS}/replay"), ("get", f"{OPS}/requests"), ("get", f"{OPS}/operations")}
"""tests/integration/test_search_api.py proves what the last two show."""
ACCEPT = {("post", REQUESTS)}
OTHER_WAYS = {
    ("get", f"{REQUESTS}/{{requestId}}"): plain(ONE),
    ("get", f"{REQUESTS}/{{requestId}}/timeline"): plain(f"{ONE}/timeline"),
    ("post", f"{REQUESTS}/{{requestId}}/cancel"): plain(f"{ONE}/cancel"),
    ("get", REQUESTS): of_ids,
}
"""What an `ops` client may do as well."""


def unknown(letter: str) -> Target:
    return Target(str(uuid4()), str(uuid4()), re.sub("[0-9]+", "98765", letter))


@contextmanager
def statements() -> Any:
    """Collects the statements that the service sends, except for those that it sends regularly."""
    found: list[str] = []

    def keep(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "api_beats" not in statement and "key_uses" not in statement:
            found.append(statement)

    sqlalchemy_event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield found
    finally:
        sqlalchemy_event.remove(Engine, "before_cursor_execute", keep)


async def seen(
    scene: Scene, caller: str, method: str, call: dict[str, Any], target: Target
) -> tuple[int, str, dict[str, str], list[str]]:
    """Returns what a caller can see of the answer, without ids, and the statements that it took."""
    with statements() as sent:
        headers = scene.as_client(caller) | {"X-Correlation-ID": "walk"}
        answer = await scene.api.request(method, **call, headers=headers)
    text = re.sub("(entry|callback)-[0-9]+", r"\1-N", answer.text.replace(target.request_id, "ID"))
    answers = {name: value for name, value in answer.headers.items() if name not in {"date", "content-length"}}
    return answer.status_code, text, answers, sent


async def state(scene: Scene, targets: list[Target]) -> list[Any]:
    ids = [target.request_id for target in targets]
    found: list[Any] = [await rows(scene.database, SAVED.format(name=name), ids=ids) for name in TABLES]
    return [sorted(each) for each in found] + await rows(scene.database, "SELECT count(*) FROM operations")


def test_the_walk_leaves_no_operation_out() -> None:
    operations = {(method, path) for path, item in describe()["paths"].items() for method in item}
    assert operations == set(WALK) | LISTS | ACCEPT | CATALOGUE | MONEY | REPLAYS | DESTINATIONS | HEALTH


@pytest.mark.parametrize(("own", "other"), [ODOOS, ODOOS[::-1]])
async def test_every_operation_answers_for_another_odoos_request_as_for_none(
    scene: Scene, own: str, other: str
) -> None:
    before, letters = await state(scene, scene.owned[other]), await letters_of(scene, other)
    calls = [*((key, *row) for key, row in WALK.items()), *((key, "ops", call) for key, call in OTHER_WAYS.items())]
    for (method, path), scope, call in calls:
        caller = f"{scope} of {own}"
        await scene.api.request(method, **call(unknown("entry-1")), headers=scene.as_client(caller))  # a first incident
        for target in scene.owned[other]:
            nobody = unknown(target.letter)
            expected = await seen(scene, caller, method, call(nobody), nobody)
            assert expected == await seen(scene, caller, method, call(target), target), (method, path, target)
            assert expected[0] == 404 or path in {REQUESTS, f"{OPS}/n8n-failures"}, (method, path, expected)

    assert await state(scene, scene.owned[other]) == before
    assert await letters_of(scene, other) == letters


async def letters_of(scene: Scene, odoo: str) -> Any:
    return (await scene.api.get(LETTERS, headers=scene.as_client(f"ops of {odoo}"))).json()


async def test_every_operation_finds_the_requests_of_the_callers_own_odoo(scene: Scene) -> None:
    for own, ((method, path), (scope, call)) in product(ODOOS, WALK.items()):
        waiting, done, dead, _ = scene.owned[own]
        target = {"complete": waiting, "replay": dead}.get(path.rpartition("/")[2], done)
        if path == f"{OPS}/requests/{{requestId}}/replay":
            await write(scene.database, FAIL, request_id=dead.request_id)
        answer = await scene.api.request(method, **call(target), headers=scene.as_client(f"{scope} of {own}"))
        assert answer.status_code in {200, 202, 409}, (method, path, answer.text)
        assert target.request_id in answer.text or path.endswith("/image"), (method, path, answer.text)


async def test_a_request_shows_the_odoo_that_gets_its_result(scene: Scene) -> None:
    for odoo in ODOOS:
        _, _, dead, _ = scene.owned[odoo]
        for path in (f"{REQUESTS}/{dead.request_id}", f"{REQUESTS}/{dead.request_id}/timeline"):
            answer = await scene.api.get(path, headers=scene.as_client("operators"))
            assert answer.json()["odoo"] == odoo
        letter = await scene.api.get(f"{LETTERS}/{dead.letter}", headers=scene.as_client("operators"))
        assert (letter.json()["odoo"], letter.json()["kind"]) == (odoo, "dispatch")


async def test_lists_and_their_cursors_contain_only_what_is_the_callers_own(scene: Scene) -> None:
    for own in ODOOS:
        readable = {target.request_id for target in scene.owned[own][:3]}
        letters = {target.letter for target in scene.owned[own]}
        for scope, path, name, expected in (
            ("requests", REQUESTS, "requestId", readable),
            ("ops", REQUESTS, "requestId", readable),
            ("ops", LETTERS, "id", letters),
        ):
            found = [item[name] async for item in pages(scene, path, f"{scope} of {own}")]
            assert sorted(found) == sorted(expected), (own, scope, path)


async def pages(scene: Scene, path: str, caller: str) -> AsyncIterator[dict[str, Any]]:
    """Yields the items of all pages, which have one item each."""
    parameters = {"limit": "1"}
    while True:
        page = (await scene.api.get(path, params=parameters, headers=scene.as_client(caller))).json()
        for item in page["items"]:
            yield item
        if page["nextCursor"] is None:
            return
        parameters["cursor"] = page["nextCursor"]


async def test_neither_a_filter_nor_a_cursor_of_another_odoo_leads_to_its_requests(scene: Scene) -> None:
    north, default = scene.as_client("requests of north"), scene.as_client("requests of default")
    theirs = (await scene.api.get(REQUESTS, params={"limit": 1}, headers=north)).json()
    for caller, odoo, parameters in (
        (default, "default", {"cursor": theirs["nextCursor"]}),
        (north, "north", {"status": "completed"}),
        (north, "north", {"createdAfter": "2020-01-01T00:00:00Z"}),
    ):
        found = (await scene.api.get(REQUESTS, params=parameters, headers=caller)).json()
        assert {item["odoo"] for item in found["items"]} == {odoo}, parameters


async def test_a_bulk_replay_counts_and_replays_only_what_is_the_callers_own(scene: Scene) -> None:
    for own, other in (ODOOS, ODOOS[::-1]):
        before = await state(scene, scene.owned[other])
        headers = scene.as_client(f"ops of {own}")
        told = (await scene.api.post(f"{LETTERS}/replay", json={"dryRun": True}, headers=headers)).json()
        done = (await scene.api.post(f"{LETTERS}/replay", json={"kind": "dispatch"}, headers=headers)).json()

        assert (told["matched"], set(told["replayed"])) == (4, {target.letter for target in scene.owned[own]})
        assert (done["matched"], done["replayed"], done["failed"]) == (1, [scene.owned[own][2].letter], {})
        assert (await state(scene, scene.owned[other]))[:-1] == before[:-1]


async def test_alerts_and_callbacks_of_unknown_requests_are_for_clients_that_see_every_odoo(
    scene: Scene,
) -> None:
    await write(scene.database, "INSERT INTO incidents (cause, times) VALUES ('n8n_down', 1)")
    await write(
        scene.database,
        """INSERT INTO outbox (incident_id, step, state, finished_at, error_code, error_detail)
           SELECT id, 'alert', 'dead', now(), 'alert_failed', 'nobody' FROM incidents WHERE cause = 'n8n_down'""",
    )
    nobody = {"requestId": str(uuid4()), "correlationId": str(uuid4())}
    await scene.api.post(CALLBACK, json=failed(nobody), headers=scene.as_client("everyone's n8n"))

    listed = {
        name: (await scene.api.get(LETTERS, headers=scene.as_client(name))).json()["items"]
        for name in ("operators", "ops of default", "ops of north")
    }
    assert {name: len(items) for name, items in listed.items()} == {
        "operators": 10,
        "ops of default": 4,
        "ops of north": 4,
    }
    assert [item["odoo"] for item in listed["operators"][:2]] == [None, None]


async def test_a_report_that_names_its_own_request_but_brings_a_result_for_another_odoo_is_not_replayed_by_it(
    scene: Scene,
) -> None:
    own, other = scene.owned["north"][0], scene.owned["default"][0]
    body = {"requestId": own.request_id, "errorMessage": "No answer.", "result": failed(other.event())}
    made = await scene.api.post(f"{OPS}/n8n-failures", json=body, headers=scene.as_client("everyone's n8n"))
    before = await state(scene, scene.owned["default"])
    answer = await scene.api.post(f"{LETTERS}/{made.json()['id']}/replay", headers=scene.as_client("ops of north"))

    assert (answer.status_code, answer.json()["code"]) == (404, "request_unknown")
    assert await state(scene, scene.owned["default"]) == before


async def test_a_report_about_an_execution_of_another_odoo_names_no_request(scene: Scene) -> None:
    theirs = scene.owned["default"][0]
    path = f"{REQUESTS}/{theirs.request_id}/wanted?executionId=77"
    await scene.api.get(path, headers=scene.as_client("everyone's n8n"))
    before = await state(scene, scene.owned["default"])
    answers = [
        await scene.api.post(
            f"{OPS}/n8n-failures",
            json={"executionId": execution, "errorMessage": "It crashed."},
            headers=scene.as_client("callbacks of north"),
        )
        for execution in ("77", "78")
    ]

    assert [(answer.status_code, answer.json()["requestId"]) for answer in answers] == [(202, None)] * 2
    assert await state(scene, scene.owned["default"]) == before


async def test_an_operator_who_replays_everything_does_not_apply_what_another_odoos_n8n_reported(scene: Scene) -> None:
    theirs = scene.owned["default"][0]
    for path in (CALLBACK, f"{OPS}/n8n-failures"):
        report = failed(theirs.event())
        body = report if path == CALLBACK else {"errorMessage": "No answer.", "result": report}
        await scene.api.post(path, json=body, headers=scene.as_client("callbacks of north"))
    before = await state(scene, scene.owned["default"])
    letters = (await scene.api.get(f"{LETTERS}?limit=2", headers=scene.as_client("operators"))).json()["items"]
    for letter in letters:
        answer = await scene.api.post(f"{LETTERS}/{letter['id']}/replay", headers=scene.as_client("operators"))
        assert (answer.status_code, answer.json()["code"]) == (404, "request_unknown"), letter

    assert await state(scene, scene.owned["default"]) == before


async def test_clients_without_an_odoo_see_and_do_what_they_did_before(scene: Scene) -> None:
    theirs = scene.owned["north"]
    for name in ("operators", "all in one"):
        listed = await scene.api.get(REQUESTS, headers=scene.as_client(name))
        assert {item["odoo"] for item in listed.json()["items"]} == {*ODOOS}
    cancelled = await scene.api.post(f"{REQUESTS}/{theirs[0].request_id}/cancel", headers=scene.as_client("all in one"))
    asked = await scene.api.post(REQUESTS, json=make_event(), headers=scene.as_client("all in one"))
    assert (cancelled.status_code, asked.json()["odoo"]) == (200, "default")
    found = await scene.api.get(f"{REQUESTS}/{theirs[1].request_id}", headers=scene.as_client("odoo"))
    assert found.status_code == 404


async def test_the_same_id_of_two_odoos_is_a_conflict_that_tells_nothing_of_the_other(scene: Scene) -> None:
    for target in scene.owned["default"]:
        event = make_event(requestId=target.request_id, prompt="Something of my own")
        answer = await scene.api.post(REQUESTS, json=event, headers=scene.as_client("requests of north"))
        assert (answer.status_code, answer.json()["code"]) == (409, "request_id_taken")
        assert answer.json()["detail"] == f"The requestId {target.request_id} is in use. Choose another."
        assert set(answer.json()) <= {
            *("type", "title", "status", "code", "detail", "action", "instance", "correlationId", "requestId")
        }
        assert "location" not in answer.headers


async def test_of_two_odoos_that_send_the_same_id_at_once_one_gets_the_request(scene: Scene) -> None:
    for _ in range(5):
        event = make_event()
        answers = await asyncio.gather(
            *(
                scene.api.post(REQUESTS, json=event | {"prompt": odoo}, headers=scene.as_client(f"requests of {odoo}"))
                for odoo in ODOOS * 4
            )
        )
        by_odoo = {odoo: sorted(answer.status_code for answer in answers[n::2]) for n, odoo in enumerate(ODOOS)}
        assert sorted(by_odoo.values()) == [[200, 200, 200, 202], [409] * 4]
        [(owner, prompt, queue)] = await rows(
            scene.database,
            "SELECT odoo, event ->> 'prompt', step FROM requests JOIN outbox USING (request_id) WHERE request_id = :id",
            id=event["requestId"],
        )
        assert by_odoo[owner] == [200, 200, 200, 202]
        assert (prompt, queue) == (owner, "dispatch" if owner == "default" else "dispatch:north")


async def test_a_known_request_that_two_odoos_send_at_once_stays_that_of_the_first(scene: Scene) -> None:
    event = make_event()
    first = scene.as_client("requests of default")
    assert (await scene.api.post(REQUESTS, json=event, headers=first)).status_code == 202
    answers: list[Awaitable[httpx.Response]] = [
        scene.api.post(REQUESTS, json=event, headers=scene.as_client(f"requests of {odoo}")) for odoo in ODOOS * 10
    ]
    assert [answer.status_code for answer in await asyncio.gather(*answers)] == [200, 409] * 10
