"""Signatures as specified by Standard Webhooks: the workflow signs its callbacks and checks the bridge's requests."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import pybase64

PREFIX = "whsec_"
TOLERANCE = 300
"""Largest difference, in seconds, between the timestamp of a request and N8N's clock."""
SIGNATURES_MAX = 10
"""Number of signatures in one header that are looked at."""
TIMESTAMP_DIGITS = 15


@dataclass(frozen=True)
class Credentials:
    """The API key and the signing secret of a callback."""

    key: str = field(repr=False)
    secret: str | None = field(repr=False)


def new_secret() -> str:
    """Generates a secret of 32 printable characters, because N8N's Crypto node takes a secret as text."""
    return PREFIX + pybase64.b64encode(secrets.token_urlsafe(24).encode()).decode()


def key_of(secret: str) -> bytes:
    """Decodes a `whsec_<base64>` secret. Raises `ValueError` if it is malformed."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}")
    return pybase64.b64decode(secret.removeprefix(PREFIX), validate=True)


def signature(secret: str, message_id: str, timestamp: int | str, content: bytes) -> str:
    """Returns the `webhook-signature` of `content`."""
    signed = f"{message_id}.{timestamp}.".encode() + content
    return "v1," + pybase64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()


def signed_headers(credentials: Credentials, message_id: str, now: float, content: bytes) -> dict[str, str]:
    """Returns the headers that sign `content`; none without a secret."""
    if credentials.secret is None:
        return {}
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signature(credentials.secret, message_id, int(now), content),
    }


def is_signed(secret: str, headers: Mapping[str, str], content: bytes, now: float) -> bool:
    """Returns whether one of the request's signatures is by `secret` over exactly these bytes, made about `now`."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not _is_recent(timestamp, now):
        return False
    expected = signature(secret, message_id, timestamp, content).encode()
    given = headers.get("webhook-signature", "").split()[:SIGNATURES_MAX]
    matches = [hmac.compare_digest(each.encode(), expected) for each in given]  # all, whichever is right
    return any(matches)


def _is_recent(timestamp: str, now: float) -> bool:
    is_number = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= TIMESTAMP_DIGITS
    return is_number and abs(now - int(timestamp)) <= TOLERANCE
