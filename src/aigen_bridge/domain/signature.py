"""Signs and verifies messages as specified by Standard Webhooks (https://www.standardwebhooks.com).

The signature is the HMAC-SHA256 of `id.timestamp.body`. The headers are `webhook-id`, `webhook-timestamp` (Unix
seconds) and `webhook-signature` (`v1,` and base64). While a secret is being replaced, the last one holds several
signatures, separated by spaces.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import string
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from aigen_bridge.domain.errors import BridgeError

TOLERANCE = timedelta(minutes=5)
"""The maximum difference between the timestamp of a message and the current time, in either direction."""
ID, TIMESTAMP, SIGNATURE = HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
PREFIX = "whsec_"
SECRET_CHARACTERS = 32
SECRET_MIN, SECRET_SAFE, SECRET_MAX = 16, 24, 64
"""Bytes. Standard Webhooks asks for 24 to 64; a secret of 16 is strong enough to be taken, with a warning."""
SIGNATURES_MAX = 10
HEADER_MAX = 1024
TIMESTAMP_DIGITS = 15


class SignatureError(BridgeError):
    """The signature is missing, malformed, too old, or made with another secret."""

    def __init__(self, detail: str) -> None:
        super().__init__("signature_invalid", detail)


def new_secret() -> str:
    """Generates a secret whose bytes are printable ASCII, because N8N's Crypto node takes a secret as text."""
    alphabet = string.ascii_letters + string.digits
    text = "".join(secrets.choice(alphabet) for _ in range(SECRET_CHARACTERS))
    return PREFIX + base64.b64encode(text.encode()).decode()


def secret_bytes(secret: str) -> bytes:
    """Decodes a `whsec_…` secret to its key. Raises `ValueError` if it is malformed."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a signing secret is {PREFIX} and base64") from error
    if not SECRET_MIN <= len(key) <= SECRET_MAX:
        raise ValueError(f"a signing secret stands for {SECRET_MIN} to {SECRET_MAX} bytes")
    return key


def is_short(secret: str) -> bool:
    """Returns whether a valid secret has fewer bytes than Standard Webhooks asks for."""
    return len(secret_bytes(secret)) < SECRET_SAFE


def sign(keys: Iterable[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Returns the headers of a message that is sent at `at`. Without keys, it has id and timestamp only."""
    timestamp = str(int(at.timestamp()))
    signatures = [f"v1,{_signature(key, message_id, timestamp, body)}" for key in keys]
    headers = {ID: message_id, TIMESTAMP: timestamp}
    return headers | {SIGNATURE: " ".join(signatures)} if signatures else headers


def is_signed(headers: Mapping[str, str]) -> bool:
    """Returns whether the message has any signature header."""
    return any(name in headers for name in HEADERS)


def verify(keys: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raises `SignatureError` unless one of the keys signed this body within `TOLERANCE` of `now`."""
    message_id, timestamp, given = (headers.get(name, "") for name in HEADERS)
    if not (message_id and timestamp and given):
        raise SignatureError(f"The headers {', '.join(HEADERS)} are needed.")
    if max(map(len, (message_id, timestamp, given))) > HEADER_MAX:
        raise SignatureError("A signature header is too long.")
    _check_age(timestamp, now)
    expected = [_signature(key, message_id, timestamp, body).encode() for key in keys]
    matches = [
        hmac.compare_digest(signature, candidate) for candidate in _version_1(given) for signature in expected
    ]  # compares every pair, because the duration must not depend on the result
    if not any(matches):
        raise SignatureError("The signature is not by a secret of this client over exactly these bytes.")


def _check_age(timestamp: str, now: datetime) -> None:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= TIMESTAMP_DIGITS):
        raise SignatureError("webhook-timestamp is not a number of Unix seconds.")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise SignatureError(f"webhook-timestamp is more than {TOLERANCE} from our clock; is yours right?")


def _version_1(given: str) -> list[bytes]:
    parts = [part.partition(",") for part in given.split()[:SIGNATURES_MAX]]
    return [value.encode(errors="replace") for version, _, value in parts if version == "v1"]


def _signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode(errors="replace"), hashlib.sha256)
    mac.update(body)
    return base64.b64encode(mac.digest()).decode()
