"""What the bridge decides where there are several Odoos: whose result it is, whose database answered, who is woken."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from aigen_bridge.clients.odoo import read_answer
from aigen_bridge.domain.delivery import OdooAnswer
from aigen_bridge.domain.destination import N8N, ODOO, every_destination, odoo_destination, with_breaker
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.incident import Cause, Incident, read_key
from aigen_bridge.domain.outbox import Claim, Delivered
from aigen_bridge.domain.queues import lane_of, odoo_of
from aigen_bridge.domain.request import ImageRequest, Status, Step
from aigen_bridge.pipeline.alert import body, title
from aigen_bridge.pipeline.deliver import Deliver
from aigen_bridge.worker.run import _wake

AT = datetime(2026, 3, 1, tzinfo=UTC)
MINE, COPY = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


@dataclass
class Answering:
    """An Odoo whose database has this uuid."""

    database_uuid: str | None
    received: list[Mapping[str, Any]] = field(default_factory=list)

    async def apply_result(self, payload: Mapping[str, Any]) -> OdooAnswer:
        self.received.append(payload)
        return OdooAnswer(applied=True, has_picture=False, database_uuid=self.database_uuid)


class NoImages:
    """None is needed for a cancelled request."""

    async def get(self, ref: ImageRef) -> bytes | None:
        raise AssertionError(ref)


def claim(odoo: str, known: str | None = None) -> Claim:
    request = ImageRequest(
        request_id=UUID(int=1),
        correlation_id=UUID(int=2),
        event={},
        status=Status.CANCELLED,
        version=2,
        created_at=AT,
        updated_at=AT,
        odoo=odoo,
    )
    lease: dict[str, Any] = {"entry_id": 1, "attempt": 1, "fence": 1, "leases_lost": 0, "give_up_at": None}
    times = {"began_at": AT, "claimed_at": AT}
    return Claim(**lease, **times, step=Step.DELIVER, request=request, database_uuid=known)


async def test_a_delivery_in_the_queue_of_another_odoo_is_never_sent() -> None:
    odoo = Answering(None)
    with pytest.raises(PermanentError, match=r"belongs to Odoo north.*Replay") as refused:
        await Deliver(odoo, NoImages(), concurrency=1).run(claim("north"))

    assert (refused.value.code, odoo.received) == ("wrong_odoo", [])


@pytest.mark.parametrize(
    ("known", "told", "learned"), [(None, MINE, MINE), (None, None, None), (MINE, MINE, None), (MINE, None, None)]
)
async def test_the_known_uuid_is_sent_and_an_unknown_one_is_learned(
    known: str | None, told: str | None, learned: str | None
) -> None:
    odoo = Answering(told)
    effect = await Deliver(odoo, NoImages(), concurrency=1, name="north").run(claim("north", known))

    assert effect == Delivered(2, learned)
    assert [payload.get("databaseUuid") for payload in odoo.received] == [known]


async def test_another_database_than_the_known_one_counts_as_an_odoo_that_is_away() -> None:
    with pytest.raises(TransientError) as refused:
        await Deliver(Answering(COPY), NoImages(), concurrency=1, name="north").run(claim("north", MINE))

    assert (refused.value.code, refused.value.away, refused.value.tries) == ("wrong_database", True, None)


@pytest.mark.parametrize("told", [None, 7, "", "a\x00b", "x" * 65, {"uuid": MINE}])
def test_a_uuid_that_cannot_be_stored_or_shown_counts_as_not_told(told: Any) -> None:
    assert read_answer({"applied": True, "databaseUuid": told}).database_uuid is None
    assert read_answer({"applied": True, "databaseUuid": MINE.upper()}).database_uuid == MINE


@dataclass
class Woken:
    """What a lane was told."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    entries: int = 0

    def on_new_entry(self) -> None:
        self.entries += 1


@pytest.mark.parametrize(
    ("queue", "lane"),
    [
        ("dispatch", "dispatch"),
        ("dispatch:north", "dispatch"),
        ("deliver", "deliver"),
        ("deliver:north", "deliver:north"),
        ("deliver:gone", None),
        ("fetch", "fetch"),
    ],
)
async def test_a_new_entry_wakes_the_lane_that_claims_it_and_no_other(queue: str, lane: str | None) -> None:
    lanes = {name: Woken() for name in ("dispatch", "fetch", "deliver", "deliver:north", "alert")}
    _wake(lanes, queue)  # type: ignore[arg-type]

    assert [name for name, each in lanes.items() if each.entries or each.wake.is_set()] == ([lane] if lane else [])


def test_each_odoo_is_a_destination_and_the_default_one_keeps_its_name() -> None:
    found = every_destination(["default", "north"])

    assert list(found) == ["n8n", "odoo", "image", "odoo:north"]
    assert found["n8n"].queues == ("dispatch", "dispatch:north")
    assert found["image"].queues == ("fetch",)
    assert (found["odoo"], odoo_destination("default")) == (ODOO, ODOO)
    assert (found["odoo:north"].queues, found["odoo:north"].label) == (("deliver:north",), "Odoo north")
    assert with_breaker() == [N8N, ODOO]
    assert [odoo_of(queue) for queue in ("dispatch", "deliver:north", "fetch")] == ["default", "north", None]
    assert lane_of("deliver:north") == "deliver:north"


def test_an_alert_names_the_odoo_unless_it_is_the_default_one() -> None:
    cause, odoo = read_key("odoo_down:north")
    found = Incident(
        id=1,
        cause=cause,
        odoo=odoo,
        times=1,
        notified_times=0,
        opened_at=AT,
        seen_at=AT,
        recovered_at=None,
        latest=(),
    )

    assert read_key("odoo_down") == (Cause.ODOO_DOWN, "default")
    assert title(found).endswith("delivered when it is back (Odoo north)")
    assert "Odoo:       north" in body(found, "https://bridge.example.com")
