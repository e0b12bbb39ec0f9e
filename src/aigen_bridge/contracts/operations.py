"""The resources of what operators did."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from aigen_bridge.contracts.wire import WireModel


class OperationResource(WireModel):
    """What an operator did."""

    id: int
    at: datetime
    client: str = Field(description="the client, `cli:` and a login name, or `oidc:` and a person")
    action: str = Field(description="such as `replay`, `discard`, `complete`, `cancel`, `put` or `pause`")
    target: str = Field(description="such as `entry-7`, `callback-7`, `request`, `model:<id>` or `destination n8n`")
    request_id: UUID | None = Field(None, description="the request, if it concerns one")
    odoo: str | None = Field(None, description="the name of the Odoo; null if it concerns no single one")
    reason: str | None = Field(None, description="as the operator gave it")
    before: dict[str, Any] | None = Field(None, description="the fields that changed, as they were")
    after: dict[str, Any] | None = Field(None, description="the fields that changed, as they are since then")


class OperationPage(WireModel):
    """A page of operator actions, newest first."""

    items: list[OperationResource]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null at the end")
