"""What Odoo's answer to a delivery means, above all when the bridge's database was restored from a backup."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from aigen_bridge.clients.odoo import read_answer
from aigen_bridge.domain.delivery import VERSION_MAX, OdooAnswer, judge_answer, version_floor
from aigen_bridge.domain.outbox import Claim, Delivered, EndedInOdoo, SetBack
from aigen_bridge.domain.request import ImageRequest, Status, Step

NOW = datetime(2026, 7, 1, tzinfo=UTC)
FLOOR = version_floor(NOW)


def claim(status: Status, version: int, error_code: str | None = None) -> Claim:
    request = ImageRequest(
        request_id=UUID(int=1),
        correlation_id=UUID(int=2),
        event={},
        status=status,
        version=version,
        error_code=error_code,
        created_at=NOW,
        updated_at=NOW,
    )
    lease = {"entry_id": 1, "attempt": 1, "fence": 1, "leases_lost": 0, "give_up_at": None}
    return Claim(**lease, step=Step.DELIVER, began_at=NOW, claimed_at=NOW, request=request)


def known(version: int, status: str, error_code: str | None = None) -> OdooAnswer:
    """Odoo ignored the delivery, because it knows this."""
    return OdooAnswer(
        applied=False, has_picture=status == "completed", version=version, status=status, error_code=error_code
    )


WITHOUT_PICTURE, WITH_PICTURE = (OdooAnswer(applied=False, has_picture=has_picture) for has_picture in (False, True))
"""What an older addon says when it ignored a delivery."""


@pytest.mark.parametrize(
    ("answer", "above"),
    [
        (known(3, "failed", "timed_out"), 3),
        (known(7, "failed", "timed_out"), 7),
        (known(5, "queued"), 5),
        (known(4, "cancelled"), 4),
        (known(3, "waiting"), 3),
        (WITHOUT_PICTURE, FLOOR),  # an older addon
    ],
)
def test_a_picture_that_odoo_ignored_for_later_news_is_delivered_again_above_them(
    answer: OdooAnswer, above: int
) -> None:
    found = judge_answer(claim(Status.COMPLETED, 3), answer)
    assert isinstance(found, SetBack)
    assert (found.version, found.above) == (3, above)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (Status.COMPLETED, known(3, "completed")),  # the same again, or the addon's form asked first
        (Status.COMPLETED, known(9, "completed")),
        (Status.COMPLETED, known(2, "completed")),  # another picture: the first one stays
        (Status.COMPLETED, WITH_PICTURE),
        (Status.COMPLETED, replace(known(3, "completed"), applied=True)),
        (Status.FAILED, known(3, "failed", "timed_out")),
        (Status.FAILED, known(5, "failed", "timed_out")),
        (Status.FAILED, known(3, "failed")),
        (Status.FAILED, known(9, "completed")),  # a picture that Odoo has is never taken back
        (Status.FAILED, WITHOUT_PICTURE),
        (Status.CANCELLED, known(9, "completed")),
        (Status.DISPATCHED, known(9, "dispatched")),
    ],
)
def test_what_odoo_knows_already_is_delivered(status: Status, answer: OdooAnswer) -> None:
    code = "timed_out" if status is Status.FAILED else None
    assert judge_answer(claim(status, 3, code), answer) == Delivered(3)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (Status.FAILED, known(4, "dispatched")),
        (Status.FAILED, known(3, "failed", "content_policy")),
        (Status.DISPATCHED, known(3, "failed", "timed_out")),
        (Status.CANCELLED, known(3, "failed", "timed_out")),
    ],
)
def test_other_news_that_odoo_ignored_are_delivered_again(status: Status, answer: OdooAnswer) -> None:
    code = "timed_out" if status is Status.FAILED else None
    assert isinstance(judge_answer(claim(status, 3, code), answer), SetBack)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.DISPATCHED, Status.RECEIVED])
@pytest.mark.parametrize("ended", ["completed", "cancelled"])
def test_an_open_request_that_has_ended_in_odoo_ends_here_too(status: Status, ended: str) -> None:
    assert isinstance(judge_answer(claim(status, FLOOR), known(3, ended)), EndedInOdoo)


@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ({}, WITHOUT_PICTURE),
        ({"attachmentId": 7}, WITH_PICTURE),
        ({"version": 3, "status": "failed", "errorCode": "nsfw"}, known(3, "failed", "nsfw")),
        ({"version": 3, "status": "queued", "errorCode": False}, known(3, "queued")),
        ({"version": 3, "status": "queued"}, known(3, "queued")),
        *[
            ({"version": version, "status": "failed"}, WITHOUT_PICTURE)
            for version in ("3", True, -1, 3.0, None, VERSION_MAX, 2**40)
        ],
        ({"version": 3, "status": 7}, WITHOUT_PICTURE),
    ],
)
def test_an_answer_is_read_whatever_the_addon_says_of_its_record(told: dict[str, object], answer: OdooAnswer) -> None:
    assert read_answer({"applied": False} | told) == answer


def test_a_floor_is_above_every_version_of_an_earlier_restore_and_fits_an_integer() -> None:
    earlier = version_floor(NOW - timedelta(minutes=5))
    assert earlier + 100 < FLOOR < version_floor(datetime(2092, 1, 1, tzinfo=UTC)) < VERSION_MAX
    assert version_floor(datetime(1970, 1, 1, tzinfo=UTC)) == 0
