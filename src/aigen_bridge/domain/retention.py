"""What is deleted past its retention period."""

from enum import StrEnum


class RetentionClass(StrEnum):
    """Data with a retention period of its own, in the order in which it is deleted."""

    IMAGES = "images"
    """The bytes of images. Their description stays with the request."""

    QUARANTINE = "quarantine"
    """Callbacks that an operator replayed or discarded. Open ones are kept: they wait for an operator."""

    ATTEMPTS = "attempts"
    """Attempts at outbox entries. The transitions of the request stay with it."""

    REQUESTS = "requests"
    """Requests with everything that belongs to them."""

    INCIDENTS = "incidents"
    """Incidents that have ended and whose end was reported."""
