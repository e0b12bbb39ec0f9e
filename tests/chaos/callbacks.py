"""What the answers to N8N's callbacks promised, and whether it was kept."""

from collections.abc import Iterator, Mapping
from typing import Any

from chaos.door import Answered

Row = Mapping[str, Any]
CONTRADICTION, UNAVAILABLE = 409, frozenset({None, 502, 503, 504})


def broken_promises(answers: tuple[Answered, ...], requests: Mapping[str, Row]) -> Iterator[str]:
    """Callbacks that were answered with 2xx and have no effect."""
    for said in answers:
        row = requests.get(said.request_id)
        if said.taken and (row is None or not _kept(said, row)):
            yield f"{said.request_id}: {said.says} {said.content} was taken, the request is {_words(row)}"


def wrong_refusals(answers: tuple[Answered, ...], requests: Mapping[str, Row]) -> Iterator[str]:
    """Callbacks that were refused although nothing was wrong with them."""
    for said in answers:
        if said.taken or said.status in UNAVAILABLE:
            continue
        row = requests.get(said.request_id)
        if said.status != CONTRADICTION or row is None or _agrees(said, row):
            code = said.answer.get("code")
            yield f"{said.request_id}: {said.says} was refused with {said.status} {code}; it is {_words(row)}"


def _kept(said: Answered, row: Row) -> bool:
    """An image that was taken is never thrown away; a failure yields to nothing but an image after ours."""
    if row["status"] == "cancelled":
        return said.says != "image" or row["said"] == said.content
    if said.says == "image":
        return row["status"] == "completed" and row["said"] == said.content
    if said.says == "url":  # it may be gone before it was fetched
        return row["status"] in {"completed", "received"} or row["failed_by"] == "bridge"
    if said.duplicate:  # it found a failure of ours or N8N's, or a cancelled request
        return row["status"] in {"completed", "failed"}
    return row["failed_by"] == "n8n" and row["error_code"] == said.content


def _agrees(said: Answered, row: Row) -> bool:
    """Whether the callback says what the request is."""
    if said.says == "failed":
        return row["failed_by"] == "n8n" and row["error_code"] == said.content
    return row["status"] == "completed" and row["said"] == said.content


def _words(row: Row | None) -> str:
    return "unknown" if row is None else f"{row['status']} {row['failed_by'] or ''} {row['error_code'] or ''}".strip()
