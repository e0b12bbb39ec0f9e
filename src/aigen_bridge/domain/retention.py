"""The kinds of data that are deleted past their retention period."""

from enum import StrEnum


class RetentionClass(StrEnum):
    """A kind of data with its own retention period. Kinds are deleted in this order."""

    IMAGES = "images"
    """The bytes of images. Their descriptions stay with the request."""

    QUARANTINE = "quarantine"
    """Callbacks that an operator replayed or discarded. Open ones are kept: they wait for an operator."""

    ATTEMPTS = "attempts"
    """Attempts at outbox entries. The transitions of the request stay with it."""

    REQUESTS = "requests"
    """Requests, with all rows that belong to them."""

    LEDGER = "ledger"
    """Entries of the ledger whose request was deleted before."""

    INCIDENTS = "incidents"
    """Incidents that have ended and whose end was reported."""
