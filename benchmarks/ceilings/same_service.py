"""The bridge's own application with keys, limits, ids, parsing and responses, but without a database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from aigen_bridge.asgi import from_environment
from aigen_bridge.contracts.examples import CORRELATION_ID, REQUESTED
from aigen_bridge.domain.catalogue import Catalogue
from aigen_bridge.domain.request import ImageRequest, NewRequest, Status, VersionedTransition


def create() -> FastAPI:
    """Builds the application as in `aigen-bridge serve`, except for the store."""
    app = from_environment()
    opening = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with opening(app) as state:
            app.state.parts = replace(app.state.parts, requests=_Requests(), models=_Models(), addons=_Addons())
            yield state

    app.router.lifespan_context = lifespan
    return app


class _Requests:
    async def accept(self, new: NewRequest) -> tuple[ImageRequest, bool]:
        return _request(new.request_id, new.correlation_id, new.event, Status.QUEUED), True

    async def get_batched(self, request_id: UUID) -> ImageRequest:
        return _request(request_id, UUID(CORRELATION_ID), REQUESTED, Status.DISPATCHED)

    async def apply_versioned(self, transition: VersionedTransition, image: object = None) -> bool:  # noqa: ARG002 - as in the store
        return True


class _Models:
    async def recent(self) -> Catalogue:
        return Catalogue()


class _Addons:
    async def note(self, odoo: str, version: str | None) -> None:
        pass


def _request(request_id: UUID, correlation_id: UUID, event: Any, status: Status) -> ImageRequest:
    now = datetime.now(UTC)
    return ImageRequest(
        request_id=request_id,
        correlation_id=correlation_id,
        event=event,
        status=status,
        version=1,
        created_at=now,
        updated_at=now,
    )
