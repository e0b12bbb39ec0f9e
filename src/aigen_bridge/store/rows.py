"""Converts rows into the objects of the domain."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Row

from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.facts import NO_FACTS, Cost, CostBasis, Facts, GenerationFacts, NegativePromptUse
from aigen_bridge.domain.image import MEDIA_TYPES, StoredImage
from aigen_bridge.domain.provenance import Mark, MarkingMode, Provenance
from aigen_bridge.domain.request import AwaitedImage, FailedBy, ImageRequest, Status
from aigen_bridge.store.readable import FAR_PAST
from aigen_bridge.store.schema import requests

COLUMNS = ", ".join(f"r.{column.name}" for column in requests.c if column.name != "callback_deadline_at")
"""The columns of `requests AS r` that `to_request` reads. They are named, because a statement must not change with the
table."""

REASON_MAX = 300
"""The reason why a row cannot be read is truncated to this number of characters."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


def from_row(kind: type[T], row: Row[Any], **converted: Any) -> T:
    """Builds a dataclass from the columns that have the names of its fields. `converted` are the fields that differ."""
    names = (field.name for field in fields(kind) if field.name not in converted)  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names}, **converted)


def to_request(row: Row[Any]) -> ImageRequest:
    """Returns the request in this row. Raises `UnreadableRequestError`."""
    try:
        return _to_request(row)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnreadableRequestError(row.request_id, f"{type(error).__name__}: {error}"[:REASON_MAX]) from error


def only_ids(row: Row[Any]) -> ImageRequest:
    """Returns a placeholder for a request that cannot be read. Only its ids and its Odoo are valid."""
    return ImageRequest(
        request_id=row.request_id,
        correlation_id=row.correlation_id,
        event={},
        status=Status.FAILED,
        version=0,
        created_at=FAR_PAST,
        updated_at=FAR_PAST,
        odoo=row.odoo,
    )


def facts_columns(facts: Facts) -> dict[str, Any]:
    """Returns the known facts as they are stored, by column."""
    columns = {"generation_facts": facts.generation, "cost": facts.cost}
    return {name: asdict(known) for name, known in columns.items() if known}


def if_readable(row: Row[Any]) -> ImageRequest | None:
    """Returns the request. Logs one that cannot be read and returns None."""
    try:
        return to_request(row)
    except UnreadableRequestError as error:
        log.error("request.unreadable", request_id=str(row.request_id), detail=error.detail)  # noqa: TRY400 - the detail is enough
        return None


def _to_request(row: Row[Any]) -> ImageRequest:
    return from_row(
        ImageRequest,
        row,
        event=dict(row.event),
        status=Status(row.status),
        finished_at=row.completed_at,
        failed_by=FailedBy(row.failed_by) if row.failed_by else None,
        image=_image(row.image) if row.image is not None else None,
        awaited=_awaited(row.awaited) if row.awaited is not None else None,
        facts=_facts(row),
        model=dict(row.model) if row.model is not None else None,
        provenance=_readable_provenance(row) if row.provenance is not None else None,
    )


def _image(stored: dict[str, Any]) -> StoredImage:
    image = StoredImage(**stored)
    if image.format not in MEDIA_TYPES:
        raise ValueError(f"no image has the format {image.format!r}")
    return image


def _readable_provenance(row: Row[Any]) -> Provenance | None:
    """Returns the marks; None if they cannot be read. An image is delivered without them."""
    try:
        return _provenance(row.provenance)
    except (ValueError, TypeError, LookupError, AttributeError):
        log.exception("request.provenance_unreadable", request_id=str(row.request_id))
        return None


def _provenance(stored: Mapping[str, Any]) -> Provenance:
    """Returns the marks. Ignores kinds of marks, and ways of marking, that a newer version may have added."""
    return Provenance(
        found=tuple(Mark(name) for name in stored["found"] if name in set(Mark)),
        valid=stored["valid"],
        marked=MarkingMode(stored["marked"]) if stored["marked"] in set(MarkingMode) else None,
        original_sha256=stored["original_sha256"],
    )


def _awaited(stored: dict[str, Any]) -> AwaitedImage | None:
    """Returns the awaited image; None if it cannot be read. The request then fails as if the fetch had failed."""
    try:
        values = dict(stored)
        expires_at = values.pop("expires_at")
        return AwaitedImage(**values, expires_at=datetime.fromisoformat(expires_at) if expires_at else None)
    except (ValueError, TypeError, LookupError):
        log.exception("request.awaited_unreadable")
        return None


def _facts(row: Row[Any]) -> Facts:
    """Returns the facts; none if they cannot be read. A result is delivered without them."""
    try:
        return Facts(
            generation=_generation_facts(row.generation_facts) if row.generation_facts is not None else None,
            cost=_cost(row.cost) if row.cost is not None else None,
        )
    except (ValueError, TypeError, LookupError, AttributeError):
        log.exception("request.facts_unreadable", request_id=str(row.request_id))
        return NO_FACTS


def _generation_facts(stored: Mapping[str, Any]) -> GenerationFacts:
    """Returns the facts in this column. Ignores what a newer version may have added."""
    known = _known(GenerationFacts, stored)
    use, flags = known.get("negative_prompt"), known.get("has_nsfw_concepts")
    typed = {
        "negative_prompt": NegativePromptUse(use) if use in set(NegativePromptUse) else None,
        "has_nsfw_concepts": tuple(flags) if flags is not None else None,
    }
    return GenerationFacts(**known | typed)


def _cost(stored: Mapping[str, Any]) -> Cost:
    known = _known(Cost, stored)
    return Cost(**known | {"basis": CostBasis(known["basis"])})


def _known(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: stored.get(field.name) for field in fields(kind)}
