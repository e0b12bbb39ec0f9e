"""Many requests are read at once by their ids."""

from uuid import uuid4

import httpx
import pytest

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.generations import Generations
from stage import REQUESTS, Stage


async def read(stage: Stage, **parameters: str) -> httpx.Response:
    return await stage.api.get(REQUESTS, params=parameters, headers=stage.as_client("odoo"))


async def test_the_named_requests_that_exist_are_on_one_page_newest_first(idle_stage: Stage) -> None:
    first, second, third = [await idle_stage.ask() for _ in range(3)]
    wanted = [first["requestId"], third["requestId"].upper(), *(str(uuid4()) for _ in range(98))]
    found = await read(idle_stage, ids=", ".join(wanted))

    assert found.status_code == 200
    assert [item["requestId"] for item in found.json()["items"]] == [third["requestId"], first["requestId"]]
    assert found.json()["items"][1] == await idle_stage.read(first["requestId"])
    assert found.json()["nextCursor"] is None
    assert second["requestId"] not in found.text


async def test_wrong_ids_and_other_parameters_beside_them_are_refused_by_name(idle_stage: Stage) -> None:
    one = str(uuid4())
    for parameters, field in (
        ({"ids": ""}, "ids"),
        ({"ids": "x"}, "ids"),
        ({"ids": f"{one},"}, "ids"),
        ({"ids": one.replace("-", "")}, "ids"),
        ({"ids": ",".join(str(uuid4()) for _ in range(101))}, "ids"),
        ({"ids": "," * 5000}, "ids"),
        ({"ids": one, "status": "failed"}, "status"),
        ({"ids": one, "limit": "10"}, "limit"),
        ({"ids": one, "cursor": "x"}, "cursor"),
    ):
        answer = await read(idle_stage, **parameters)
        assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_a_cancel_is_confirmed_although_the_database_goes_away_right_after_it(
    idle_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailableError("The database is away.")

    asked = await idle_stage.ask()
    monkeypatch.setattr(Generations, "find", away)
    path = f"{REQUESTS}/{asked['requestId']}/cancel"
    answer = await idle_stage.api.post(path, headers=idle_stage.as_client("odoo"))
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
