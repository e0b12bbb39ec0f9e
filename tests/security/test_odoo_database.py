"""`X-Odoo-Database`: a copy of an Odoo database does not act in the name of the original."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from structlog.testing import capture_logs

from aigen_bridge.api.odoo_database import HEADER, KnownDatabases
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.database import Database
from aigen_bridge.store.odoos import Odoos
from outages import rows
from scrape import scrape
from stage import CALLBACK, CLIENTS, KEYS, REQUESTS, UNREACHABLE, make_event, make_settings, serve_api

UUID, OTHER = "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55", "6d1f0e4b-8a39-4c0e-2d64-9b2f1b0e7c55"
BY = OperatorAction("ops")
NAMES = {"default": "odoo", "north": "Nörd & Süd; 2"}
NORTH = UNREACHABLE["odoo"] | {"database": NAMES["north"]}
NORTH_NAME = "N%C3%B6rd%20%26%20S%C3%BCd%3B%202"
OPEN_TO_ODOO = [
    ("GET", REQUESTS),
    ("POST", REQUESTS),
    ("GET", f"{REQUESTS}/{UUID}"),
    ("GET", f"{REQUESTS}/{UUID}/image"),
    ("GET", f"{REQUESTS}/{UUID}/timeline"),
    ("POST", f"{REQUESTS}/{UUID}/cancel"),
    ("GET", "/api/v1/influencegen/models"),
    ("GET", f"/api/v1/influencegen/models/{UUID}"),
    ("PUT", f"/api/v1/ops/models/{UUID}"),
    ("DELETE", f"/api/v1/ops/models/{UUID}"),
    ("GET", "/api/v1/ops/dead-letters"),
    ("GET", "/api/v1/ops/dead-letters/entry-1"),
    ("POST", "/api/v1/ops/dead-letters/replay"),
    ("POST", "/api/v1/ops/dead-letters/entry-1/replay"),
    ("POST", "/api/v1/ops/dead-letters/entry-1/discard"),
    ("POST", f"/api/v1/ops/requests/{UUID}/replay"),
    ("POST", f"/api/v1/ops/requests/{UUID}/complete"),
]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    clients = CLIENTS | {
        "addon": {"keys": ["addon"], "scopes": ["requests", "ops"]},
        "north": {"keys": ["north"], "scopes": ["requests", "ops"], "odoo": "north"},
    }
    async with serve_api(make_settings(database_url, clients=clients, odoos={"north": NORTH})) as api:
        yield api


async def call(
    api: httpx.AsyncClient, database: str, key: str = "addon", method: str = "GET", path: str = REQUESTS
) -> httpx.Response:
    return await api.request(method, path, headers={"X-API-Key": key, "X-Odoo-Database": database})


async def test_every_call_of_the_addon_is_refused_from_another_database(
    api: httpx.AsyncClient, database: Database
) -> None:
    await Odoos(database).confirm("default", UUID, BY)
    for method, path in OPEN_TO_ODOO:
        for header in (f"{UUID}; staging", f"{OTHER}; odoo"):
            answer = await call(api, header, "addon", method, path)
            assert (answer.status_code, answer.json()["code"]) == (403, "wrong_database"), (method, path, header)
            assert "'default'" in answer.json()["detail"]
            assert "neutralize" in answer.json()["action"].lower()
        assert (await call(api, f"{UUID}; odoo", "all", method, path)).status_code != 403, (method, path)
    assert await rows(database, "SELECT count(*) FROM requests") == [(0,)]


async def test_a_refusal_does_not_say_which_uuid_or_name_is_right(api: httpx.AsyncClient, database: Database) -> None:
    await Odoos(database).confirm("north", UUID, BY)
    for header in (f"{OTHER}; {NORTH_NAME}", f"{UUID}; odoo"):
        answer = await call(api, header, "north")
        assert answer.status_code == 403
        assert UUID not in answer.text
    assert NAMES["north"] not in answer.text


async def test_the_right_database_is_served_whatever_the_case_of_its_uuid(
    api: httpx.AsyncClient, database: Database
) -> None:
    await Odoos(database).confirm("north", UUID.upper(), BY)
    for header in (f"{UUID}; {NORTH_NAME}", f"{UUID.upper()};{NORTH_NAME}"):
        assert (await call(api, header, "north")).status_code == 200, header


async def test_an_unknown_uuid_and_a_missing_header_are_served(api: httpx.AsyncClient) -> None:
    assert (await call(api, f"{OTHER}; odoo")).status_code == 200
    assert (await api.get(REQUESTS, headers={"X-API-Key": "addon"})).status_code == 200


MALFORMED = [
    "",
    "odoo",
    f"{UUID}",
    f"{UUID};",
    f"{UUID} odoo",
    f"{{{UUID}}}; odoo",
    f"{'x' * 65}; odoo",
    f"{UUID}; odoo; odoo",
    f"{UUID}; two words",
    f"{UUID}; %zz",
    f"{UUID}; %ff",
    f"{UUID}; odoo, {UUID}; odoo",
]


async def test_a_malformed_header_is_refused_by_its_name(api: httpx.AsyncClient) -> None:
    for wrong in MALFORMED:
        answer = await call(api, wrong)
        assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [HEADER]), wrong
        assert "percent-encoded" in answer.json()["errors"][0]["allowed"]


async def test_a_uuid_that_people_have_set_by_hand_is_compared_like_any_other(
    api: httpx.AsyncClient, database: Database
) -> None:
    await Odoos(database).confirm("default", "staging-1", BY)
    assert (await call(api, "Staging-1; odoo")).status_code == 200
    assert (await call(api, f"{UUID}; odoo")).status_code == 403


async def test_two_headers_are_refused(api: httpx.AsyncClient) -> None:
    headers = [("X-API-Key", "addon"), ("X-Odoo-Database", f"{UUID}; odoo"), ("X-Odoo-Database", f"{OTHER}; odoo")]
    assert (await api.get(REQUESTS, headers=headers)).status_code == 422


async def test_a_confirmed_database_is_served_at_once_and_the_earlier_one_within_seconds_no_more(
    api: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Odoos(database).confirm("default", UUID, BY)
    assert (await call(api, f"{OTHER}; odoo")).status_code == 403

    await Odoos(database).confirm("default", OTHER, BY)
    assert (await call(api, f"{OTHER}; odoo")).status_code == 200

    await Odoos(database).confirm("default", None, BY)
    await Odoos(database).confirm("default", UUID, BY)
    monkeypatch.setattr("aigen_bridge.api.odoo_database.FRESH_SECONDS", 0.0)  # instead of 5 s
    assert (await call(api, f"{OTHER}; odoo")).status_code == 403


async def test_known_uuids_are_read_once_for_many_calls_and_once_more_before_a_refusal() -> None:
    reads = 0

    async def read() -> dict[str, str]:
        nonlocal reads
        reads += 1
        return {"default": UUID}

    known = KnownDatabases(read, patience=1)
    assert not any(await asyncio.gather(*(known.is_other("default", UUID) for _ in range(20))))
    assert reads == 1
    assert await known.is_other("default", OTHER)
    assert reads == 2


async def test_many_calls_share_one_query_that_does_not_return() -> None:
    reads = 0

    async def hang() -> dict[str, str]:
        nonlocal reads
        reads += 1
        return await asyncio.get_running_loop().create_future()

    known = KnownDatabases(hang, patience=0.05)
    calls = (known.is_other("default", UUID) for _ in range(20))
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    await known.close()
    assert {type(answer) for answer in answers} == {StoreUnavailableError}
    assert reads == 1


async def test_a_database_that_is_away_is_a_503_and_nothing_remembers_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_away = True
    known = Odoos.known

    async def sometimes_away(odoos: Odoos) -> dict[str, str]:
        if is_away:
            raise StoreUnavailableError("The database did not answer.")
        return await known(odoos)

    monkeypatch.setattr(Odoos, "known", sometimes_away)
    async with serve_api(make_settings(database_url)) as api:
        answer = await call(api, f"{UUID}; odoo", KEYS["odoo"], "POST")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        is_away = False
        assert (await call(api, f"{UUID}; odoo", KEYS["odoo"])).status_code == 200


async def test_a_refusal_is_counted_and_logged_with_its_client(api: httpx.AsyncClient) -> None:
    async def count() -> float:
        return (await scrape(api)).value("aigen_authentication_failures_total", reason="wrong_database")

    before = await count()
    with capture_logs() as logged:
        await call(api, f"{UUID}; staging")
    assert await count() == before + 1
    [refused] = [entry for entry in logged if entry["event"] == "api.refused"]
    assert (refused["log_level"], refused["code"]) == ("warning", "wrong_database")
    assert "'staging'" in refused["detail"]
    assert "'addon'" in refused["detail"]


async def test_n8n_has_no_odoo_database(api: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": KEYS["n8n"], "X-Odoo-Database": "x", "Content-Type": "application/json"}
    event = {"requestId": str(uuid4()), "correlationId": str(uuid4()), "status": "failed"}
    body = event | {"errorCode": "x", "errorMessage": "y"}
    assert (await api.post(CALLBACK, json=body, headers=headers)).status_code == 404


async def test_the_first_request_of_a_copy_is_not_stored(api: httpx.AsyncClient, database: Database) -> None:
    headers = {"X-API-Key": "addon", "X-Odoo-Database": f"{UUID}; copy"}
    assert (await api.post(REQUESTS, json=make_event(), headers=headers)).status_code == 403
    assert await rows(database, "SELECT count(*) FROM requests") == [(0,)]
