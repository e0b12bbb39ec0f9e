"""The endpoint of usage: what was spent and reserved, as JSON or CSV."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_READ, Caller
from aigen_bridge.api.describe import problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, Parts, json_answer
from aigen_bridge.contracts.usage import COLUMNS, TIMES, UsageReport, usage_filter
from aigen_bridge.contracts.views import PREFIX
from aigen_bridge.domain.usage import GroupBy

CSV = "text/csv"
TIME_MAX = 64
"""Characters of a time."""

router = APIRouter(prefix=PREFIX, tags=["usage"])


@router.get(
    "/usage",
    dependencies=[KNOWN_PARAMETERS],
    summary="Read what was spent",
    response_model=UsageReport,
    responses=problems(401, 403, 409, 422, 429, 503)
    | {
        200: {
            "description": f"The sums; with `Accept: {CSV}` as CSV, with the columns {', '.join(COLUMNS)}",
            "content": {CSV: {"schema": {"type": "string"}}},
        }
    },
)
async def read_usage(
    request: Request,
    caller: Annotated[Caller, MAY_READ],
    parts: Parts,
    since: Annotated[
        str | None, Query(alias="from", max_length=TIME_MAX, description=f"accepted at or after: {TIMES}")
    ] = None,
    until: Annotated[
        str | None, Query(alias="to", max_length=TIME_MAX, description=f"accepted before: {TIMES}")
    ] = None,
    group_by: Annotated[GroupBy | None, Query(alias="groupBy", description="one item for each")] = None,
) -> Response:
    """Sums the ledger by currency, and by what `groupBy` names. Without `from` and `to`: the current month.

    A date begins at midnight in `AIGEN_MONEY__TIME_ZONE`. A request belongs to the time when it was accepted. A client
    with an Odoo sees the requests of this Odoo.
    """
    zone = parts.settings.money.time_zone
    wanted = usage_filter(since, until, group_by, caller.sees_only, now=datetime.now(UTC), time_zone=zone)
    report = UsageReport.of(wanted, await parts.ledger.usage(wanted))
    headers = {"Vary": "Accept"}
    if _prefers_csv(request.headers.get("accept", "")):
        return Response(report.csv(), headers=headers, media_type=CSV)
    return json_answer(report, headers=headers)


def _prefers_csv(accept: str) -> bool:
    """Returns whether a caller names CSV, and JSON less or not at all."""
    return _quality(accept, CSV) > _quality(accept, "application/json")


def _quality(accept: str, media: str) -> float:
    """Returns the weight with which `Accept` names a media type; 0 if it does not (RFC 9110, section 12.5.1)."""
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == media:
            weights = [piece.removeprefix("q=") for piece in parameters if piece.startswith("q=")]
            return _number(weights[0]) if weights else 1.0
    return 0.0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
