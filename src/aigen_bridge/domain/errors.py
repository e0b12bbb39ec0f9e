"""Errors of the bridge. Clients and steps raise `TransientError` and `PermanentError` (`StepError`), nothing else."""

import re
from collections.abc import Iterable
from datetime import timedelta

IMAGE_STORE_AWAY = "image_store_away"

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class BridgeError(Exception):
    """An expected error.

    `code` is stable and safe to show; `detail` is a sentence for people and never holds a secret.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def storable(text: str) -> str:
    """Replaces what PostgreSQL cannot store: NUL characters and lone surrogates."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class StepError(BridgeError):
    """An attempt at an outbox entry failed. `http_status` is that of the other system's response, if there was one.

    The detail may quote that system, so it is made storable here.
    """

    def __init__(self, code: str, detail: str, *, http_status: int | None = None) -> None:
        super().__init__(storable(code), storable(detail))
        self.http_status = http_status


class TransientError(StepError):
    """A retry may succeed. `retry_after` is the wait that the other system asked for.

    `tries`, if given, is the number of attempts after which the error counts as permanent. `away` means that the
    destination was not reached at all: no connection, or another program answered in its place.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        http_status: int | None = None,
        retry_after: timedelta | None = None,
        tries: int | None = None,
        away: bool = False,
    ) -> None:
        super().__init__(code, detail, http_status=http_status)
        self.retry_after = retry_after
        self.tries = tries
        self.away = away


class InternalError(TransientError):
    """An attempt failed because of the bridge: a bug, or its database. It says nothing about the destination."""


class PermanentError(StepError):
    """A retry cannot succeed: an operator has to look."""


class ImageDamagedError(PermanentError):
    """The stored bytes of an image do not have its hash: an operator has to look."""

    def __init__(self, request_id: object) -> None:
        super().__init__(
            "image_damaged",
            f"The stored bytes of the image of request {request_id} have been changed: their SHA-256 is another one. "
            "Restore the object from a backup or an earlier version.",
        )


class UnknownRequestError(BridgeError):
    """No request has this id."""

    def __init__(self, request_id: object) -> None:
        super().__init__("request_unknown", f"No request has the id {request_id}.")


class UnreadableRequestError(BridgeError):
    """The request is stored in a form that this version cannot read: an operator has to repair its row."""

    def __init__(self, request_id: object, reason: str) -> None:
        super().__init__("request_unreadable", f"Request {request_id} is stored, but cannot be read: {reason}.")


class UnknownModelError(BridgeError):
    """The catalogue has no model with this id."""

    def __init__(self, model_id: object) -> None:
        super().__init__("model_unknown", f"The catalogue has no model with the id {model_id}.")


class ContradictionError(BridgeError):
    """A message contradicts what is already known."""


class RequestIdTakenError(ContradictionError):
    """Another Odoo has sent a request with this id. The caller must not learn more about it."""

    def __init__(self, request_id: object) -> None:
        super().__init__("request_id_taken", f"The requestId {request_id} is in use. Choose another.")


class NotReplayableError(ContradictionError):
    """The request cannot be sent again: N8N has settled it, a person cancelled it, or it is on its way."""

    def __init__(self, detail: str, *, is_final: bool) -> None:
        advice = "Ask for a new one." if is_final else "Wait for its result, or cancel it."
        super().__init__("request_ended" if is_final else "request_open", f"{detail} {advice}")


class ImageMissingError(BridgeError):
    """The request has no image yet, or no longer has one."""


class ImagePurgedError(BridgeError):
    """The request had an image, whose bytes were deleted after their retention period."""

    def __init__(self, request_id: object) -> None:
        super().__init__("image_purged", f"The image of request {request_id} was deleted past its retention period.")


class ImageRejectedError(BridgeError):
    """The image does not match its hash or its metadata. `reasons` lists every difference."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("image_rejected", " ".join(reasons))
        self.reasons = reasons


class CannotMarkError(BridgeError):
    """The image cannot be marked, and no retry changes that."""

    def __init__(self, detail: str) -> None:
        super().__init__("cannot_mark", detail)


class StoreUnavailableError(BridgeError):
    """The database cannot be reached or did not answer; nothing was stored.

    `reason` is the error of the database itself, for logs and operators but not for callers. It holds no secret.
    """

    def __init__(self, detail: str, reason: str | None = None) -> None:
        super().__init__("store_unavailable", detail)
        self.reason = reason or detail


class ImageStoreAwayError(StoreUnavailableError):
    """The object store of the images cannot be reached, refuses the bridge, or is not the one it belongs to."""

    def __init__(self, reason: str) -> None:
        super().__init__("The image store did not answer.", reason)
        self.code = IMAGE_STORE_AWAY


class UnsuitableDatabaseError(StoreUnavailableError):
    """The database answers, but the bridge must not use it. `advice` says what to do."""

    def __init__(self, detail: str, advice: str) -> None:
        super().__init__(detail)
        self.advice = advice


class UnknownDeadLetterError(BridgeError):
    """There is no such dead letter, or it is no longer open. `handled` says who handled it, if somebody did."""

    def __init__(self, name: str, handled: str | None = None) -> None:
        super().__init__("dead_letter_unknown", f"No dead letter {name!r} is open{f': {handled}' if handled else ''}.")


class UnknownReplayError(BridgeError):
    """There is no background replay with this number."""

    def __init__(self, number: object) -> None:
        super().__init__("replay_unknown", f"No background replay has the number {number}.")


class ReplayLeaseLostError(BridgeError):
    """Another worker goes on with the background replay: what this one was about to write is not written."""

    def __init__(self, number: int) -> None:
        super().__init__("replay_lease_lost", f"Another worker goes on with background replay {number}.")


class NothingToReplayError(BridgeError):
    """The dead letter reports a failed execution of no known request, so there is nothing to replay."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "nothing_to_replay",
            f"Dead letter {name} reports a failed execution of no known request, so there is nothing to replay. Look "
            "at the execution in N8N, then discard the letter.",
        )


class UnknownDestinationError(BridgeError):
    """No destination that can be paused has this name, or the operator may not see it."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        detail = f"No destination has the name {name!r}. There is: {', '.join(known)}."
        super().__init__("destination_unknown", detail)


class SharedDestinationError(BridgeError):
    """The operator belongs to one Odoo, and the destination serves all of them."""

    def __init__(self, name: str, odoo: str) -> None:
        super().__init__(
            "destination_shared", f"{name} serves every Odoo, and you are an operator of Odoo {odoo} only."
        )
