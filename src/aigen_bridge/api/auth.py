"""Who calls, and may they? Keys are compared in constant time, against every key that there is."""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from aigen_bridge.api.problems import ForbiddenError, UnauthorizedError
from aigen_bridge.settings import Client, Scope

_HASHED = re.compile(r"sha256:[0-9a-fA-F]{64}\Z")

bearer = HTTPBearer(auto_error=False, description="The key of a client")
api_key = APIKeyHeader(name="X-API-Key", auto_error=False, description="The key of a client")


@dataclass(frozen=True, slots=True)
class Caller:
    """A client whose key was good."""

    name: str
    scopes: frozenset[Scope]


class Keyring:
    """All keys, as SHA-256: what is compared is always of one length, and no key stays in memory."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._keys = [
            (_digest(key.get_secret_value()), Caller(name, client.scopes))
            for name, client in clients.items()
            for key in client.keys
        ]

    def find(self, key: str) -> Caller | None:
        """Whose key this is. Takes the same time whether it is the first, the last or none."""
        digest = hashlib.sha256(key.encode()).digest()
        found = None
        for known, caller in self._keys:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(key: str) -> bytes:
    if _HASHED.match(key):
        return bytes.fromhex(key.removeprefix("sha256:"))
    return hashlib.sha256(key.encode()).digest()


def require(*scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who has at least one of these scopes."""

    async def caller(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
        key: Annotated[str | None, Security(api_key)],
    ) -> Caller:
        found = _authenticated(request.app.state.keyring, credentials.credentials if credentials else key)
        if not found.scopes & set(scopes):
            needed = " or ".join(scopes)
            raise ForbiddenError("scope_missing", f"Client {found.name!r} does not have the scope {needed}.")
        structlog.contextvars.bind_contextvars(client=found.name)
        return found

    return caller


def _authenticated(keyring: Keyring, key: str | None) -> Caller:
    if not key:
        raise UnauthorizedError("key_missing", "The call carries no key.")
    found = keyring.find(key)
    if found is None:
        raise UnauthorizedError("key_unknown", "No client has this key.")
    return found


MAY_ASK = Depends(require(Scope.REQUESTS))
MAY_READ = Depends(require(Scope.REQUESTS, Scope.OPS))
MAY_REPORT = Depends(require(Scope.CALLBACKS))
