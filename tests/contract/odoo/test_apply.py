"""`bridge_apply_result`: what it does, for the simulator and for the addon."""

import asyncio
import base64
import hashlib
from uuid import UUID, uuid4

import pytest

from aigen_bridge.clients.odoo import OdooClient, OdooProbe
from aigen_bridge.sim.drawing import draw

MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
PICTURE = draw("A lighthouse", seed=1, width=64, height=48)


def result(request_id, version=2, status="completed", content=PICTURE, size=(64, 48), **image_changes):
    payload = {"requestId": request_id, "version": version, "status": status}
    if status == "failed":
        return payload | {"errorCode": "nsfw", "errorMessage": "It shows <b>too much</b>."}
    if status != "completed":
        return payload
    image = {
        "data": base64.b64encode(content).decode(),
        "format": "png",
        "size": len(content),
        "width": size[0],
        "height": size[1],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return payload | {"image": image | image_changes}


async def test_a_result_takes_effect_and_its_bytes_stay_the_same(side):
    name = await side.records.create()
    answer = await side.apply(result(name))
    assert set(answer) == {"applied", "recordId", "attachmentId", "version", "status", "errorCode", "databaseUuid"}
    assert answer["applied"] is True
    assert (answer["version"], answer["status"], answer["errorCode"]) == (2, "completed", False)
    assert type(answer["recordId"]) is type(answer["attachmentId"]) is int
    assert await side.records.read(name) == {
        "status": "completed",
        "version": 2,
        "error_code": None,
        "error_message": None,
        "content": PICTURE,
    }


async def test_a_wide_picture_is_not_scaled_down(side):
    name, wide = await side.records.create(), draw("Wide", seed=1, width=2400, height=64)
    await side.apply(result(name, content=wide, size=(2400, 64)))
    assert (await side.records.read(name))["content"] == wide


async def test_the_same_and_older_versions_have_no_effect_and_the_same_ids(side):
    name = await side.records.create()
    first = await side.apply(result(name, version=3))
    for version, status in ((3, "completed"), (3, "failed"), (2, "failed"), (1, "cancelled")):
        assert await side.apply(result(name, version, status)) == first | {"applied": False}
    assert (await side.records.read(name))["status"] == "completed"


async def test_a_failure_has_its_words_and_a_later_picture_wins(side):
    name = await side.records.create()
    answer = await side.apply(result(name, 1, "failed"))
    assert (answer["applied"], answer["attachmentId"]) == (True, False)
    found = await side.records.read(name)
    assert (found["status"], found["error_code"]) == ("failed", "nsfw")
    assert found["error_message"] == "It shows <b>too much</b>."
    assert (await side.apply(result(name, 2)))["applied"] is True
    found = await side.records.read(name)
    assert (found["status"], found["error_code"], found["content"]) == ("completed", None, PICTURE)


@pytest.mark.parametrize("status", ["queued", "dispatched", "received", "cancelled"])
async def test_every_state_is_known(side, status):
    name = await side.records.create()
    assert (await side.apply(result(name, 1, status)))["applied"] is True
    assert (await side.records.read(name))["status"] == status


async def test_a_request_that_is_sent_to_n8n_again_goes_back_to_the_queue(side):
    name = await side.records.create()
    for version, status in ((2, "dispatched"), (3, "queued"), (4, "dispatched"), (5, "completed")):
        assert (await side.apply(result(name, version, status)))["applied"] is True
        found = await side.records.read(name)
        assert (found["status"], found["version"]) == (status, version)


async def test_a_picture_is_neither_taken_back_nor_replaced_by_a_bridge_that_forgot_it(side):
    name, other = await side.records.create(), draw("A harbour", seed=2, width=64, height=48)
    first = await side.apply(result(name, 3))
    for status in ("queued", "dispatched", "received", "failed", "cancelled"):
        assert await side.apply(result(name, 60_000_000, status)) == first | {"applied": False}
    assert await side.apply(result(name, 60_000_000, content=other)) == first | {"applied": False}
    again = await side.apply(result(name, 60_000_000))
    assert again == first | {"applied": True, "version": 60_000_000}
    assert (await side.records.read(name))["content"] == PICTURE


def provenance(marked, original=PICTURE):
    found = {"found": [], "valid": None, "marked": marked, "originalSha256": hashlib.sha256(original).hexdigest()}
    return {"provenance": found}


@pytest.mark.parametrize("first_known", [{}, provenance(None), provenance("metadata")])
async def test_a_picture_that_is_marked_later_keeps_its_attachment(side, first_known):
    name, marked = await side.records.create(), draw("A lighthouse", seed=2, width=64, height=48)
    first = await side.apply(result(name, 2) | first_known)
    later = await side.apply(result(name, 3, content=marked) | provenance("c2pa"))
    assert later == first | {"applied": True, "version": 3}
    assert (await side.records.read(name))["content"] == marked


async def test_a_mark_is_not_taken_back_and_another_picture_is_not_taken_for_a_marked_one(side):
    name, marked = await side.records.create(), draw("A lighthouse", seed=2, width=64, height=48)
    first = await side.apply(result(name, 2, content=marked) | provenance("c2pa"))
    unmarked = await side.apply(result(name, 3) | provenance(None))
    other = await side.apply(result(name, 4) | provenance("c2pa", original=b"another"))
    assert unmarked == other == first | {"applied": False}
    assert (await side.records.read(name))["content"] == marked


@pytest.mark.parametrize("wrong", ["c2pa", [], {"found": "c2pa"}, {"found": [], "marked": [], "originalSha256": 7}])
async def test_wrong_provenance_is_dropped_and_the_picture_is_taken(side, wrong):
    name = await side.records.create()
    assert (await side.apply(result(name) | {"provenance": wrong}))["applied"] is True
    assert (await side.records.read(name))["content"] == PICTURE


async def test_what_was_cancelled_is_not_taken_up_again_but_a_picture_is_kept(side):
    name = await side.records.create()
    first = await side.apply(result(name, 3, "cancelled"))
    for status in ("queued", "dispatched", "received"):
        assert await side.apply(result(name, 60_000_000, status)) == first | {"applied": False}
    assert (await side.apply(result(name, 60_000_000)))["applied"] is True


async def test_a_failure_tells_its_code_and_ignored_news_tell_what_is_known(side):
    name = await side.records.create()
    told = await side.apply(result(name, 5, "failed"))
    assert (told["version"], told["status"], told["errorCode"]) == (5, "failed", "nsfw")
    assert await side.apply(result(name, 3)) == told | {"applied": False}
    assert (await side.apply(result(name, 6, "dispatched")))["applied"] is True


async def test_keys_of_a_newer_bridge_are_ignored(side):
    name = await side.records.create()
    held = {"destination": "n8n", "since": "2026-01-31T18:00:00Z", "until": "2026-01-31T18:10:00Z"}
    assert (await side.apply(result(name) | {"held": held, "cost": {"amount": "x"}}))["applied"] is True
    assert (await side.records.read(name))["status"] == "completed"


async def test_four_at_once_have_one_effect(side):
    name = await side.records.create()
    answers = await asyncio.gather(*(side.apply(result(name)) for _ in range(4)))
    assert sum(answer["applied"] for answer in answers) == 1
    assert len({(answer["recordId"], answer["attachmentId"]) for answer in answers}) == 1


async def test_an_unknown_request_is_a_user_error(side):
    name = str(uuid4())
    code, message = await side.fault(MODEL, METHOD, payload=result(name))
    assert code == "odoo_usererror"
    assert f"no image request {name}" in message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "no dictionary",
        lambda _: {},
        lambda good: good | {"version": 0},
        lambda good: good | {"version": True},
        lambda good: good | {"version": 2**31},
        lambda good: good | {"version": "2"},
        lambda good: good | {"status": "done"},
        lambda good: good | {"status": []},
        lambda good: good | {"status": "failed"},
        lambda good: good | {"requestId": 7},
        lambda good: good | {"image": None},
        lambda good: good | {"image": "x"},
        lambda good: good | {"image": good["image"] | {"sha256": "0" * 64}},
        lambda good: good | {"image": good["image"] | {"size": 1}},
        lambda good: good | {"image": good["image"] | {"data": "***"}},
        lambda good: good | {"image": good["image"] | {"data": None}},
        lambda good: good | {"image": good["image"] | {"width": 0}},
        lambda good: good | {"image": good["image"] | {"format": "jpeg"}},
        lambda good: good | {"image": good["image"] | {"format": "svg"}},
    ],
)
async def test_what_is_not_as_agreed_is_a_validation_error_without_effect(side, spoil):
    name = await side.records.create()
    code, message = await side.fault(MODEL, METHOD, payload=spoil(result(name)))
    assert (code, bool(message)) == ("odoo_validationerror", True)
    assert (await side.records.read(name))["version"] == 0


async def test_an_oversized_image_is_a_validation_error_that_says_what_to_do(side):
    name, content = await side.records.create(), b"\x89PNG\r\n\x1a\n" + bytes(32 * 2**20)
    code, message = await side.fault(MODEL, METHOD, payload=result(name, content=content))
    assert (code, "larger than" in message) == ("odoo_validationerror", True)
    assert "Raise Odoo's system parameter aigen_image.max_image_bytes, then replay" in message


async def test_the_limit_of_an_image_and_the_uuid_of_the_database_are_told(side):
    limits = await OdooProbe(side.transport).limits()
    assert limits.image_bytes == 32 * 2**20
    assert str(UUID(limits.database_uuid)) == limits.database_uuid


async def test_a_result_for_another_database_changes_nothing_and_is_told_which_one_this_is(side):
    name, own = await side.records.create(), await OdooProbe(side.transport).database_uuid()
    told = await side.apply(result(name) | {"databaseUuid": str(uuid4())})
    assert told == {"applied": False, "recordId": 0, "attachmentId": False, "databaseUuid": own}
    assert (await side.records.read(name))["version"] == 0
    assert (await side.apply(result(name) | {"databaseUuid": own.upper()}))["applied"] is True


async def test_the_services_own_client_delivers(side):
    name, client = await side.records.create(), OdooClient(side.transport)
    assert [(await client.apply_result(result(name))).applied for _ in range(2)] == [True, False]
    assert (await side.records.read(name))["content"] == PICTURE
