"""Checks whether the API kept the promises in its responses to N8N's callbacks."""

from collections.abc import Iterator, Mapping
from typing import Any

from chaos.load_balancer import Answered

Row = Mapping[str, Any]
CONTRADICTION, UNAVAILABLE = 409, frozenset({None, 502, 503, 504})


def broken_promises(answers: tuple[Answered, ...], requests: Mapping[str, Row]) -> Iterator[str]:
    """Yields the callbacks that were answered with 2xx and had no effect."""
    for callback in answers:
        row = requests.get(callback.request_id)
        if callback.taken and (row is None or not _kept(callback, row)):
            yield f"{callback.request_id}: {callback.says} {callback.content} was taken, the request is {_words(row)}"


def wrong_refusals(answers: tuple[Answered, ...], requests: Mapping[str, Row]) -> Iterator[str]:
    """Yields the callbacks that were refused although they were correct."""
    for callback in answers:
        if callback.taken or callback.status in UNAVAILABLE:
            continue
        row = requests.get(callback.request_id)
        if callback.status != CONTRADICTION or row is None or _agrees(callback, row):
            refusal = f"{callback.status} {callback.answer.get('code')}"
            yield f"{callback.request_id}: {callback.says} was refused with {refusal}; it is {_words(row)}"


def _kept(callback: Answered, row: Row) -> bool:
    """Whether an accepted callback had its effect.

    An accepted image is never discarded. A reported failure stays, unless it followed a failure by the bridge and an
    image arrives later.
    """
    if row["status"] == "cancelled":
        return callback.says != "image" or row["declared"] == callback.content
    if callback.says == "image":
        return row["status"] == "completed" and row["declared"] == callback.content
    if callback.says == "url":  # it may expire before it is fetched
        return row["status"] in {"completed", "received"} or row["failed_by"] == "bridge"
    if callback.duplicate:  # the request had already failed, by the bridge or by N8N, or was cancelled
        return row["status"] in {"completed", "failed"}
    return row["failed_by"] == "n8n" and row["error_code"] == callback.content


def _agrees(callback: Answered, row: Row) -> bool:
    """Whether the callback agrees with the request's state."""
    if callback.says == "failed":
        return row["failed_by"] == "n8n" and row["error_code"] == callback.content
    return row["status"] == "completed" and row["declared"] == callback.content


def _words(row: Row | None) -> str:
    return "unknown" if row is None else f"{row['status']} {row['failed_by'] or ''} {row['error_code'] or ''}".strip()
