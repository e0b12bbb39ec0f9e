"""Clients whose secrets can change while they are used. Calls in progress finish with the secrets they began with."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog

from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.domain.delivery import OdooAnswer
from aigen_bridge.domain.errors import StepError

C = TypeVar("C")
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""Statuses with which N8N refuses a key or a signature. The workflow has not run then."""

log = structlog.get_logger(__name__)


class _InUse(Generic[C]):
    """A client and the number of its calls. After `retire`, it is closed as soon as the last one has ended."""

    def __init__(self, client: C, close: Callable[[], Awaitable[None]]) -> None:
        self.client = client
        self._close = close
        self._calls = 0
        self._is_retired = False

    @asynccontextmanager
    async def call(self) -> AsyncIterator[C]:
        self._calls += 1
        try:
            yield self.client
        finally:
            self._calls -= 1
            await self._close_if_idle()

    async def retire(self) -> None:
        self._is_retired = True
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._is_retired and not self._calls:
            await self._close()


class RenewedWebhook:
    """N8N's webhook. Until N8N accepts new secrets, calls that it refuses are repeated with the ones before.

    N8N knows one key at a time, so the two sides can only change one after the other.
    """

    def __init__(self, webhook: N8nWebhook) -> None:
        self._newest = _InUse(webhook, webhook.close)
        self._accepted = self._newest

    async def send(self, event: Mapping[str, Any], *, correlation_id: UUID, message_id: str) -> frozenset[str]:
        """Sends as `N8nWebhook.send` does."""
        newest, accepted = self._newest, self._accepted
        async with newest.call() as new, accepted.call() as old:
            if newest is accepted:
                return await new.send(event, correlation_id=correlation_id, message_id=message_id)
            for webhook in (new, old):
                try:
                    speaks = await webhook.send(event, correlation_id=correlation_id, message_id=message_id)
                except StepError as error:
                    if error.http_status not in REFUSED:
                        raise
                    continue
                if webhook is new:
                    await self._accept(newest)
                else:
                    log.warning("n8n.new_secrets_refused", action="those before were sent; change them in N8N, too")
                return speaks
            # N8N may have changed its secrets between the two calls
            return await new.send(event, correlation_id=correlation_id, message_id=message_id)

    async def renew(self, webhook: N8nWebhook) -> None:
        """Sends with this one from now on."""
        before, self._newest = self._newest, _InUse(webhook, webhook.close)
        if before is not self._accepted:
            await before.retire()

    async def _accept(self, newest: _InUse[N8nWebhook]) -> None:
        if newest is self._newest and newest is not self._accepted:
            before, self._accepted = self._accepted, newest
            await before.retire()

    async def close(self) -> None:
        """Closes the connections."""
        for each in {self._newest, self._accepted}:
            await each.retire()


class RenewedOdoo:
    """A client of Odoo's addon. A new key is used once Odoo has accepted it."""

    def __init__(self, client: OdooClient) -> None:
        self._current = _InUse(client, client.aclose)

    async def apply_result(self, payload: Mapping[str, Any]) -> OdooAnswer:
        """Delivers as `OdooClient.apply_result` does."""
        async with self._current.call() as client:
            return await client.apply_result(payload)

    async def renew(self, client: OdooClient) -> None:
        """Logs in with this client and uses it from now on. If Odoo refuses it or is away, the error is raised."""
        try:
            await client.login()
        except BaseException:
            await client.aclose()
            raise
        before, self._current = self._current, _InUse(client, client.aclose)
        await before.retire()

    async def close(self) -> None:
        """Starts no more calls."""
        await self._current.client.aclose()
