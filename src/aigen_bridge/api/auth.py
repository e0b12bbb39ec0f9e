"""Authentication and authorization. A key is compared in constant time with every known key."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import structlog
from fastapi import Depends, Request

from aigen_bridge import metrics
from aigen_bridge.api.errors import ForbiddenError, UnauthorizedError
from aigen_bridge.api.odoo_database import check_database
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.domain.signature import SignatureError, is_signed, secret_bytes, verify
from aigen_bridge.settings import Client, Scope
from aigen_bridge.settings.values import key_digest


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client, and the keys that verify its signatures.

    `odoo` is the Odoo that it speaks for. `sees_all`: it sees the requests of every Odoo; otherwise those of `odoo`.
    N8N serves every Odoo, so `reports_on` limits reports to one Odoo only if the client's settings name it.
    """

    name: str
    scopes: frozenset[Scope]
    odoo: str = DEFAULT_ODOO
    sees_all: bool = False
    signing_keys: tuple[bytes, ...] = field(default=(), repr=False)
    signature_required: bool = False
    reports_on: str | None = None

    @property
    def sees_only(self) -> str | None:
        """The only Odoo whose requests it sees; None if it sees all."""
        return None if self.sees_all else self.odoo


class Keyring:
    """All keys, as SHA-256 digests: every comparison has the same length, and no key stays in memory."""

    def __init__(self, clients: Mapping[str, Client]) -> None:
        self._keys = [
            (key_digest(key), _caller(name, client)) for name, client in clients.items() for key in client.keys
        ]

    def find(self, key: str) -> Caller | None:
        """Returns the owner of a key. Takes the same time whether the first, the last or no key matches."""
        return self.owner(digest_of(key))

    def owner(self, digest: bytes) -> Caller | None:
        """Returns the owner of the key with this digest, as `find` does."""
        found = None
        for known, caller in self._keys:
            if hmac.compare_digest(known, digest):
                found = caller
        return found

    def signing_keys(self, client: str) -> tuple[bytes, ...]:
        """Returns the keys that verify a client's signatures; empty for an unknown client."""
        return next((caller.signing_keys for _, caller in self._keys if caller.name == client), ())


def digest_of(key: str) -> bytes:
    """Returns the SHA-256 of a key."""
    return hashlib.sha256(key.encode(errors="replace")).digest()


def _caller(name: str, client: Client) -> Caller:
    secrets = tuple(secret_bytes(secret.get_secret_value()) for secret in client.signing_secrets)
    sees_all = Scope.OPS in client.scopes and client.odoo is None
    odoo = client.odoo or DEFAULT_ODOO
    return Caller(name, client.scopes, odoo, sees_all, secrets, client.signature_required, client.odoo)


def require(kind: str, *scopes: Scope) -> Callable[..., Awaitable[Caller]]:
    """Returns a dependency: the caller, which has at least one of these scopes and is within its rate limit.

    N8N (scope `callbacks`) has no Odoo database. The others call from that of the caller's Odoo.

    `kind` names the rate limit that counts the call. The dependency reads the key itself: FastAPI's two security
    classes, as dependencies of their own, cost more than the rest of it. `describe` adds them to the document.
    """

    async def caller(request: Request) -> Caller:
        found = await _authenticated(request)
        if not found.scopes & set(scopes):
            metrics.AUTHENTICATION_FAILURES.labels("scope_missing").inc()
            needed = " or ".join(scopes)
            raise ForbiddenError("scope_missing", f"Client {found.name!r} does not have the scope {needed}.")
        structlog.contextvars.bind_contextvars(client=found.name)
        await request.app.state.rate_limits.count(kind, found.name)
        if found.scopes & (set(scopes) - {Scope.CALLBACKS}):
            await check_database(request, client=found.name, odoo=found.odoo)
        return found

    return caller


async def _authenticated(request: Request) -> Caller:
    """Returns the owner of the key. A bearer token precedes `X-API-Key`; blanks around a key are no part of it."""
    bearer, plain = _bearer(request.headers.get("authorization", "")), request.headers.get("x-api-key", "").strip()
    if not (key := bearer or plain):
        metrics.AUTHENTICATION_FAILURES.labels("key_missing").inc()
        other = " Its 'Authorization' is not of the form 'Bearer KEY'." if "authorization" in request.headers else ""
        raise UnauthorizedError("key_missing", f"The call carries no key.{other}")
    found = await find_caller(request, digest_of(key))
    if found is None:
        metrics.AUTHENTICATION_FAILURES.labels("key_unknown").inc()
        both = (
            " It is in 'Authorization'; 'X-API-Key' has another, which was not read." if plain not in {"", key} else ""
        )
        raise UnauthorizedError("key_unknown", f"No client has this key.{both}")
    return found


async def find_caller(request: Request, digest: bytes) -> Caller | None:
    """Returns the owner of the key with this digest, and notes that the key was used."""
    found: Caller | None = request.app.state.keyring.owner(digest)
    if found is None:  # it may be in the files already
        await request.app.state.rotation.check()
        found = request.app.state.keyring.owner(digest)
    if found is not None:
        request.app.state.parts.key_uses.note(found.name, digest)
    return found


def _bearer(authorization: str) -> str:
    scheme, _, credentials = " ".join(authorization.split()).partition(" ")
    return credentials if scheme.lower() == "bearer" else ""


async def check_signature(caller: Caller, request: Request, signed: bytes, *, may_be_unsigned: bool = False) -> None:
    """Raises `SignatureError` when a signature is required but missing, or present but wrong.

    `may_be_unsigned`: none is required of any client, because the message cannot make anybody pay.
    """
    is_required = caller.signature_required and not may_be_unsigned
    if not is_required and not (caller.signing_keys and is_signed(request.headers)):
        return
    try:
        await _verify(caller, request, signed)
    except SignatureError:
        metrics.AUTHENTICATION_FAILURES.labels("signature_invalid").inc()
        raise


async def _verify(caller: Caller, request: Request, signed: bytes) -> None:
    try:
        verify(caller.signing_keys, request.headers, signed, datetime.now(UTC))
    except SignatureError:  # it may be by a secret that is in the files already
        await request.app.state.rotation.check()
        keys = request.app.state.keyring.signing_keys(caller.name)
        if keys == caller.signing_keys:
            raise
        verify(keys, request.headers, signed, datetime.now(UTC))


MAY_ASK = Depends(require("requests", Scope.REQUESTS))
MAY_READ = Depends(require("reading", Scope.REQUESTS, Scope.OPS))  # pages that follow their pictures never stop an ask
MAY_READ_MODELS = Depends(require("reading", Scope.REQUESTS, Scope.CALLBACKS, Scope.OPS))
MAY_CANCEL = Depends(require("requests", Scope.REQUESTS, Scope.OPS))
MAY_REPORT = Depends(require("callback", Scope.CALLBACKS))
MAY_GENERATE = Depends(require("generation", Scope.CALLBACKS))
Operator = Annotated[Caller, Depends(require("requests", Scope.OPS))]
"""The caller of an endpoint for operators."""
