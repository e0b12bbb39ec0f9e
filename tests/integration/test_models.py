"""The catalogue of models: changing and reading it, and what it refuses of new requests."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import CLIENTS, KEYS, REQUESTS, Stage, make_event, make_settings, serve_api, working

MODELS = "/api/v1/influencegen/models"
OPS_MODELS = "/api/v1/ops/models"
MODEL_ID = examples.REQUESTED["modelId"]
BARE = {"name": "Bare", "provider": {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux"}}
OF_THE_REQUEST: dict[str, Any] = examples.MODEL | {"resolutions": ["64x64", "128x64"], "supports": {}}
ASKED: dict[str, Any] = {"negativePrompt": None}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator["Api"]:
    clients = CLIENTS | {"north-ops": {"keys": ["key-of-north-ops"], "scopes": ["ops"], "odoo": "default"}}
    async with serve_api(make_settings(database_url, clients=clients)) as client:
        yield Api(client)


class Api:
    """The API with the calls of these tests."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, *, by: str = "ops", **options: Any) -> httpx.Response:
        """Calls as a client."""
        headers = {"X-API-Key": KEYS.get(by, f"key-of-{by}")} | options.pop("headers", {})
        return await self._client.request(method, path, headers=headers, **options)

    async def put(self, entry: Any, model_id: str = MODEL_ID, *, by: str = "ops") -> httpx.Response:
        """Puts a model."""
        return await self.call("PUT", f"{OPS_MODELS}/{model_id}", by=by, json=entry)

    async def ask(self, **fields: Any) -> httpx.Response:
        """Requests an image."""
        return await self.call("POST", REQUESTS, by="odoo", json=make_event(**ASKED | fields))


def refused(answer: httpx.Response) -> dict[str, tuple[str, str | None]]:
    """The message and the allowed values of each wrong field."""
    assert answer.status_code == 422, answer.text
    return {error["field"]: (error["message"], error.get("allowed")) for error in answer.json()["errors"]}


async def test_a_model_that_is_put_is_listed_and_read_by_every_client_with_an_etag(api: Api) -> None:
    put = await api.put(examples.MODEL)
    await api.put(BARE, other := str(uuid4()))

    assert put.status_code == 200
    assert put.json() == examples.MODEL | {"modelId": MODEL_ID, "updatedAt": put.json()["updatedAt"]}
    for by in ("odoo", "n8n", "ops"):
        listed = await api.call("GET", MODELS, by=by)
        assert [item["name"] for item in listed.json()["items"]] == ["Bare", "Watercolor"]
        assert listed.json()["items"][1] == put.json()
    for path in (MODELS, f"{MODELS}/{other}"):
        tag = (await api.call("GET", path)).headers["etag"]
        assert (await api.call("GET", path, headers={"If-None-Match": tag})).status_code == 304
        await api.put(BARE | {"name": "Plain" if path == MODELS else "Simple"}, other)
        assert (await api.call("GET", path, headers={"If-None-Match": tag})).status_code == 200


async def test_only_operators_of_every_odoo_change_the_catalogue_and_it_is_recorded_who_did(
    api: Api, database: Database
) -> None:
    for by in ("odoo", "n8n", "north-ops"):
        assert (await api.put(BARE, by=by)).status_code == 403
        assert (await api.call("DELETE", f"{OPS_MODELS}/{MODEL_ID}", by=by)).status_code == 403
    for _ in range(2):  # the second time changes nothing
        assert (await api.put(BARE)).status_code == 200
    assert (await api.call("DELETE", f"{OPS_MODELS}/{MODEL_ID}")).status_code == 204

    assert (await api.call("DELETE", f"{OPS_MODELS}/{MODEL_ID}")).json()["code"] == "model_unknown"
    assert (await api.call("GET", f"{MODELS}/{MODEL_ID}")).status_code == 404
    recorded = await rows(database, "SELECT client, action, target FROM operations ORDER BY id")
    assert recorded == [("ops", action, f"model:{MODEL_ID}") for action in ("put", "remove")]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"price": {"amount": "-1", "currency": "USD", "per": "image"}}, "price.amount"),
    ({"price": {"amount": "NaN", "currency": "USD", "per": "image"}}, "price.amount"),
    ({"price": {"amount": "0.00000000000000000001", "currency": "USD", "per": "image"}}, "price.amount"),
    ({"price": {"amount": "1000001", "currency": "USD", "per": "image"}}, "price.amount"),
    ({"price": {"amount": 0.035, "currency": "USD", "per": "image"}}, "price.amount"),
    ({"price": {"amount": "1", "currency": "dollar", "per": "image"}}, "price.currency"),
    ({"price": {"amount": "1", "currency": "UDS", "per": "image"}}, "price.currency"),
    ({"price": {"amount": "1", "per": "image"}}, "price.currency"),
    ({"price": {"amount": "1", "currency": "USD"}}, "price.per"),
    ({"price": {"amount": "1", "currency": "USD", "per": "pixel"}}, "price.per"),
    ({"steps": {}}, "steps.min"),
    ({"steps": {"min": 30, "max": 20, "default": 25}}, "steps"),
    ({"steps": {"min": 1, "max": 20, "default": 25}}, "steps"),
    ({"steps": {"min": 1, "max": 101, "default": 25}}, "steps.max"),
    ({"cfgScale": {"min": 0, "max": 36, "default": 3}}, "cfgScale.max"),
    ({"resolutions": []}, "resolutions"),
    ({"resolutions": ["32x32"]}, "resolutions.0"),
    ({"resolutions": ["1024 x 1024"]}, "resolutions.0"),
    ({"resolutions": ["64x64", "64x64"]}, "resolutions"),
    ({"provider": {"kind": "fal", "endpoint": "https://user:secret@fal.run/x"}}, "provider.endpoint"),
    ({"provider": {"kind": "fal", "endpoint": "https://fal.run/x?key=1"}}, "provider.endpoint"),
    ({"provider": {"kind": "fal", "endpoint": "fal.run/x"}}, "provider.endpoint"),
    ({"loras": [{"scale": 1}]}, "loras.0.path"),
    ({"supports": {"steps": True}}, "supports.steps"),
    ({"format": "gif"}, "format"),
    ({"name": " "}, "name"),
    ({"modelId": MODEL_ID}, "modelId"),
]


async def test_a_wrong_entry_is_refused_by_field_and_nothing_is_stored(api: Api) -> None:
    for change, field in WRONG:
        found = refused(await api.put(BARE | change))
        assert field in found, (change, found)
        assert found[field][1], found
    assert (await api.call("GET", MODELS)).json() == {"items": []}


async def test_an_empty_catalogue_accepts_every_model_without_an_estimate(api: Api) -> None:
    answer = await api.ask(modelId=str(uuid4()), negativePrompt="text")

    assert (answer.status_code, answer.json()["estimatedCost"]) == (202, None)


async def test_a_model_that_is_not_offered_is_refused_with_those_that_are(api: Api) -> None:
    assert (await api.ask()).status_code == 202  # this process has just read that the catalogue is empty
    await api.put(OF_THE_REQUEST)
    await api.put(BARE | {"active": False}, other := str(uuid4()))

    unknown = refused(await api.ask(modelId=str(uuid4())))
    inactive = refused(await api.ask(modelId=other))

    for found, message in (
        (unknown, "is not in the catalogue"),
        (inactive, "is the model 'Bare', which is not offered"),
    ):
        assert found["modelId"][0].startswith(message)
        assert found["modelId"][1] == f"{MODEL_ID} (Watercolor)"
    assert (await api.ask()).status_code == 202


async def test_a_process_refuses_nothing_because_it_has_not_read_a_change_yet(api: Api, database_url: str) -> None:
    await api.put(OF_THE_REQUEST)
    await api.put(BARE | {"active": False}, other := str(uuid4()))
    assert (await api.ask()).status_code == 202  # this process has just read the catalogue
    async with serve_api(make_settings(database_url)) as another_process:
        await Api(another_process).put(BARE, other)

    assert (await api.ask(modelId=other)).status_code == 202


async def test_each_parameter_that_the_model_does_not_take_is_refused_with_what_is_allowed(api: Api) -> None:
    await api.put(OF_THE_REQUEST | {"supports": {"seed": False}})

    found = refused(await api.ask(negativePrompt="text", resolution="64x128", aspectRatio="1:2", cfgScale=0.5))
    steps = refused(await api.ask(inferenceSteps=51))

    assert found == {
        "negativePrompt": ("must be left out: the model 'Watercolor' does not use it", "nothing"),
        "resolution": ("must be one of the model 'Watercolor': 64x64, 128x64", "64x64, 128x64"),
        "cfgScale": ("must be within the range of the model 'Watercolor': 1 to 20", "1 to 20"),
    }
    assert steps == {"inferenceSteps": ("must be within the range of the model 'Watercolor': 10 to 50", "10 to 50")}
    assert (await api.ask(seed=7, negativePrompt="")).status_code == 202


async def test_a_repeated_request_is_known_although_its_model_is_no_longer_offered(api: Api) -> None:
    await api.put(OF_THE_REQUEST)
    event = make_event(**ASKED)
    first = await api.call("POST", REQUESTS, by="odoo", json=event)

    for change in (OF_THE_REQUEST | {"active": False}, BARE | {"resolutions": ["128x128"]}):
        await api.put(change)
        again = await api.call("POST", REQUESTS, by="odoo", json=event)
        assert (again.status_code, again.json()["estimatedCost"]) == (200, first.json()["estimatedCost"])
        other = await api.call("POST", REQUESTS, by="odoo", json=event | {"prompt": "another"})
        assert (other.status_code, other.json()["code"]) == (409, "request_contradicts")


async def test_the_estimate_is_the_price_when_the_request_was_accepted(api: Api) -> None:
    await api.put(OF_THE_REQUEST)
    asked = (await api.ask(resolution="128x64", aspectRatio="2:1")).json()
    await api.put(OF_THE_REQUEST | {"price": {"amount": "2", "currency": "EUR", "per": "image"}})
    later = (await api.call("GET", f"{REQUESTS}/{asked['requestId']}")).json()

    assert asked["estimatedCost"] == later["estimatedCost"] == {"amount": "0.00028672", "currency": "USD"}


async def test_n8n_gets_the_entry_with_which_the_request_was_accepted(stage: Stage) -> None:
    ops = stage.as_client("ops")
    provider = {"kind": "fal", "endpoint": f"{stage.chain.flux_url}/queue/fal-ai/flux-lora"}
    path = f"{OPS_MODELS}/{MODEL_ID}"
    entry = OF_THE_REQUEST | {"provider": provider, "supports": {"negativePrompt": True}}
    await stage.api.put(path, json=entry, headers=ops)
    asked = await stage.ask()
    await stage.api.put(path, json=BARE, headers=ops)
    async with working(stage.settings):
        await stage.until_delivered(asked["requestId"])

    [event] = [call.fields for call in stage.chain.n8n.calls.to("webhook")]
    sent = {key: value for key, value in entry.items() if key not in {"active", "description"}}
    assert event["model"] == sent | {"modelId": MODEL_ID, "supports": {"negativePrompt": True, "seed": True}}


async def test_an_entry_that_cannot_be_read_refuses_its_own_requests_only(api: Api, database: Database) -> None:
    await api.put(OF_THE_REQUEST)
    await api.put(BARE, broken := str(uuid4()))
    await write(database, "UPDATE models SET entry = '{}' WHERE model_id = :broken", broken=broken)

    assert (await api.ask()).status_code == 202
    assert "cannot be read" in refused(await api.ask(modelId=broken))["modelId"][0]
    assert [item["modelId"] for item in (await api.call("GET", MODELS)).json()["items"]] == [MODEL_ID]


async def test_keys_of_a_newer_version_are_ignored_and_sent_on(api: Api, database: Database) -> None:
    await api.put(OF_THE_REQUEST)
    await write(database, "UPDATE models SET entry = jsonb_set(entry, '{newer}', '1')")

    asked = (await api.ask()).json()

    assert asked["estimatedCost"]
    [(model,)] = await rows(database, "SELECT model FROM requests")
    assert model["newer"] == 1
