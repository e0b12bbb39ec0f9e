"""The bridge's HTTP interface. Called only when no transaction is open."""

import json
import time
from dataclasses import dataclass, field
from urllib.parse import quote

import requests
from urllib3.exceptions import LocationParseError

from .address import WrongAddress, checked_url

__all__ = ["Answer", "BridgeClient", "Unreachable", "database_header"]

ADDON = "1.7.0"
"""The version of the addon, as in its manifest. By it the bridge knows whether this Odoo understands budgets."""

CONNECT_SECONDS, READ_SECONDS = 2, 5
"""A person waits for these. The bridge stores and answers, it does not work meanwhile: milliseconds are usual."""
MAX_BYTES = 96 * 2**20
"""The largest answer that is read: a larger image does not fit into one call of the bridge, as base64."""
PAUSE_SECONDS = 30
"""For so long nobody waits again for a bridge that did not answer in time; the cron tries meanwhile."""

WRONG_DATABASE = "wrong_database"
"""The bridge's code for a key that belongs to another database: this one is a copy, or was moved."""
REQUESTS = "/api/v1/influencegen/ai-image-requests"
MODELS = "/api/v1/influencegen/models"
BUDGETS = "/api/v1/influencegen/budgets"
OPS = "/api/v1/ops"

_silent_until = {}
_away = set()
"""Addresses of which the last call got no answer."""


class Unreachable(Exception):  # noqa: N818 - a state of the world
    """The bridge gave no answer, or does not serve this database. What was to be sent is sent again later.

    `reason` is a stable name: not_configured, address, refused, timeout, tls, silent, too_large, connection or
    wrong_database. Whether the bridge took the message is unknown, except for wrong_database: it did not.
    """

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """What the bridge said. `body` is {} where it is no JSON object."""

    status: int
    body: dict = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    retry_after: int = 0
    """Seconds, 0 when it does not say."""
    is_bridge: bool = False
    """Every answer of the bridge carries a correlation id."""
    etag: str = ""
    """Names this version of what was read."""


class BridgeClient:
    """Calls the bridge. `patient` callers wait for a bridge that was silent just now, others do not.

    `database` is what `database_header` returns: the bridge refuses a copy of the database that it serves.
    """

    def __init__(self, url, key, *, database, patient=False):
        self._url = url
        self._key = key
        self._database = database
        self._patient = patient

    def __repr__(self):
        return f"BridgeClient({self._url!r})"  # never the key

    @property
    def is_away(self):
        """Return whether the last call from this process got no response."""
        return self._url in _away

    def get(self, path, *, etag=""):
        """Read something. 304 says that it is still what has this `etag`. Raises `Unreachable`."""
        return self._call("GET", path, headers={"If-None-Match": etag})

    def post(self, path, body=None, *, correlation_id=""):
        """Send something. Raises `Unreachable`."""
        return self._call("POST", path, body, {"X-Correlation-ID": correlation_id})

    def put(self, path, body):
        """Add or replace something. Raises `Unreachable`."""
        return self._call("PUT", path, body)

    def delete(self, path):
        """Remove something. Raises `Unreachable`."""
        return self._call("DELETE", path)

    def _call(self, method, path, body=None, headers=None):
        url = self._checked()
        if not self._patient and time.monotonic() < _silent_until.get(url, 0):
            raise Unreachable("silent")
        try:
            answer = _answer(method, url + path, body, self._headers(headers or {}))
        except (requests.RequestException, LocationParseError) as error:  # the latter for hosts such as a..b
            reason = _reason(error)
            _away.add(self._url)
            if reason == "timeout":
                _silent_until[url] = time.monotonic() + PAUSE_SECONDS
            raise Unreachable(reason) from None  # its text would show the address with all that is in it
        _silent_until.pop(url, None)
        _away.discard(self._url)
        if answer.is_bridge and answer.status == 403 and answer.body.get("code") == WRONG_DATABASE:
            raise Unreachable(WRONG_DATABASE)
        return answer

    def _headers(self, headers):
        key = self._key.encode("latin-1", "replace")  # a character that no header carries makes it an unknown key
        headers = headers | {
            "X-API-Key": key,
            "Accept": "application/json",
            "X-Aigen-Addon": ADDON,
            "X-Odoo-Database": self._database,
        }
        return {name: value for name, value in headers.items() if value}

    def _checked(self):
        if not self._url or not self._key:
            raise Unreachable("not_configured")
        try:
            return checked_url(self._url)
        except WrongAddress:
            raise Unreachable("address") from None


def database_header(uuid, name):
    """Return the value of X-Odoo-Database, or None for a database without a uuid.

    The name is percent-encoded: it may have any character.
    """
    return f"{uuid}; {quote(name, safe='')}" if uuid else None


def _answer(method, url, body, headers):
    deadline = time.monotonic() + CONNECT_SECONDS + READ_SECONDS
    with requests.request(
        method,
        url,
        json=body,
        headers=headers,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        allow_redirects=False,  # the key goes to the address that an administrator wrote, and to no other
        auth=lambda request: request,  # and ~/.netrc adds nothing
        stream=True,
    ) as response:
        content = _bounded(response, deadline)
        return Answer(
            status=response.status_code,
            body=_json_object(content, response.headers.get("Content-Type", "")),
            content=content,
            retry_after=_seconds(response.headers.get("Retry-After", "")),
            is_bridge="X-Correlation-ID" in response.headers,
            etag=response.headers.get("ETag", ""),
        )


def _bounded(response, deadline):
    """Read the body, neither too much nor for too long."""
    content = bytearray()
    for piece in response.iter_content(2**16):
        content += piece
        if len(content) > MAX_BYTES:
            raise requests.exceptions.ContentDecodingError
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout
    return bytes(content)


def _json_object(content, media_type):
    if "json" not in media_type:
        return {}
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(text):
    return min(int(text), 3600) if text.isascii() and text.isdigit() else 0


def _reason(error):
    match error:
        case requests.exceptions.Timeout():
            return "timeout"
        case requests.exceptions.SSLError():
            return "tls"
        case requests.exceptions.ContentDecodingError():
            return "too_large"
        case requests.exceptions.InvalidURL() | LocationParseError():
            return "address"
        case requests.exceptions.ConnectionError() if "refused" in str(error):
            return "refused"
    return "connection"
