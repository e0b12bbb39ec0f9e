"""Interprets Odoo's answer to a delivery. Odoo may be ahead of a bridge whose database was restored."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from aigen_bridge.domain.outbox import Claim, Delivered, EndedInOdoo, SetBack
from aigen_bridge.domain.request import FINAL, ImageRequest, Status

VERSION_MAX = 2**31 - 1
"""The largest version: `integer` in PostgreSQL and in Odoo."""
VERSIONS_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
DATABASE_UUID = "[A-Za-z0-9._-]{1,64}"
"""A regular expression for Odoo's `database.uuid`: a UUID, unless somebody has changed this system parameter."""
SET_BACK = "Odoo has "
"""The beginning of `SetBack.detail`, which becomes the note of the change."""


@dataclass(frozen=True, slots=True)
class OdooAnswer:
    """Odoo's answer to a delivery: whether it applied the result, and the state of its record afterwards.

    `version` is None if the addon is older than this field; then `status` and `error_code` are unknown, too. `status`
    may be one that only Odoo has, such as `waiting`. `database_uuid` is that of Odoo's database; None if the addon is
    older than this field.
    """

    applied: bool
    has_picture: bool
    version: int | None = None
    status: str | None = None
    error_code: str | None = None
    database_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class Lift:
    """Raises the version of a request above `above` and keeps its status. `note` says why in its timeline.

    `delay` is added to the due time of its delivery, which spreads the load on Odoo.
    """

    request_id: UUID
    above: int
    note: str
    delay: timedelta = timedelta(0)


def version_floor(at: datetime) -> int:
    """Returns a version above all that Odoo can know at this time: the seconds since 2025.

    A request moves a few times in its life, so no version gets ahead of the clock. An integer lasts until 2093, and a
    database that is restored twice from the same backup gets a higher floor the second time.
    """
    return max(0, int((at - VERSIONS_SINCE).total_seconds()))


def is_wrong_database(claim: Claim, answer: OdooAnswer) -> bool:
    """Returns whether another database answered than the known one of this Odoo: a copy, or one that was moved."""
    known, told = claim.database_uuid, answer.database_uuid
    return known is not None and told is not None and known.lower() != told.lower()


def judge_answer(claim: Claim, answer: OdooAnswer) -> Delivered | SetBack | EndedInOdoo:
    """Decides what the answer means for the request as it was claimed. An open one may have been sent to N8N since."""
    request, learned = claim.request, None if claim.database_uuid else answer.database_uuid
    if answer.applied:
        return Delivered(request.version, learned)
    if request.status not in FINAL and answer.status in {Status.COMPLETED, Status.CANCELLED}:
        return EndedInOdoo(f"it is {answer.status} in Odoo already")
    if not _knows_later(request, answer):
        return Delivered(request.version, learned)
    above = version_floor(claim.claimed_at) if answer.version is None else answer.version
    return SetBack(request.version, above, _describe(request, answer), learned)


def _knows_later(request: ImageRequest, answer: OdooAnswer) -> bool:
    """Returns whether Odoo's record differs from the request and is at least as new.

    The same version twice with the same news is an ordinary repeat. A picture that Odoo has is never taken back. An
    older addon does not tell its version, but a completed request without a picture can only be a conflict.
    """
    if answer.version is None:
        return request.status is Status.COMPLETED and not answer.has_picture
    if answer.version < request.version or answer.status == Status.COMPLETED:
        return False
    has_other_reason = answer.error_code is not None and answer.error_code != request.error_code
    return answer.status != request.status or has_other_reason


def _describe(request: ImageRequest, answer: OdooAnswer) -> str:
    known = "no picture of it" if answer.version is None else f"version {answer.version} of it ({answer.status})"
    return (
        f"{SET_BACK}{known} and ignored version {request.version} ({request.status}): the bridge's database was "
        f"restored from a backup. It is delivered again as a later version."
    )
