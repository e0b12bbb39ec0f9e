"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com): made and verified.

Signed is `id.timestamp.body`, with HMAC-SHA256; sent are `webhook-id`, `webhook-timestamp` (Unix seconds) and
`webhook-signature` (`v1,` and base64; several, separated by spaces, while a secret is being replaced).
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
"""How far a message's timestamp may be from now, both ways."""
ID, TIMESTAMP, SIGNATURE = HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
PREFIX = "whsec_"
SECRET_CHARACTERS = 32
SIGNATURES_MAX = 10
HEADER_MAX = 1024
TIMESTAMP_DIGITS = 15


class SignatureError(BridgeError):
    """The message is not signed as it should be: missing, malformed, too old, or by another secret."""

    def __init__(self, detail: str) -> None:
        super().__init__("signature_invalid", detail)


def new_secret() -> str:
    """A secret whose bytes are printable ASCII, because N8N's Crypto node takes a secret as text."""
    alphabet = string.ascii_letters + string.digits
    text = "".join(secrets.choice(alphabet) for _ in range(SECRET_CHARACTERS))
    return PREFIX + base64.b64encode(text.encode()).decode()


def secret_bytes(secret: str) -> bytes:
    """The key that a `whsec_…` secret stands for. Raises `ValueError` when it is none."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a signing secret is {PREFIX} and base64") from error
    if not 16 <= len(key) <= 64:  # noqa: PLR2004 - Standard Webhooks asks for 24 to 64; 16 is strong enough
        raise ValueError("a signing secret stands for 16 to 64 bytes")
    return key


def sign(keys: Iterable[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers for a message that is sent `at` this moment."""
    timestamp = str(int(at.timestamp()))
    signatures = [f"v1,{_signature(key, message_id, timestamp, body)}" for key in keys]
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: " ".join(signatures)}


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the message claims to be signed."""
    return any(name in headers for name in HEADERS)


def verify(keys: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raise `SignatureError` unless one of the keys signed this body, not long from `now`."""
    message_id, timestamp, given = (headers.get(name, "") for name in HEADERS)
    if not (message_id and timestamp and given):
        raise SignatureError(f"The headers {', '.join(HEADERS)} are needed.")
    if max(map(len, (message_id, timestamp, given))) > HEADER_MAX:
        raise SignatureError("A signature header is too long.")
    _check_age(timestamp, now)
    expected = [_signature(key, message_id, timestamp, body).encode() for key in keys]
    matches = [
        hmac.compare_digest(ours, theirs) for theirs in _version_1(given) for ours in expected
    ]  # every pair, so that the time taken tells nothing
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
