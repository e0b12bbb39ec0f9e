"""Destinations on the wire: as they are listed, paused, resumed and limited."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from aigen_bridge.contracts.resources import REASON_MAX, not_blank
from aigen_bridge.contracts.wire import WireModel
from aigen_bridge.domain.destination import Availability, DestinationStatus

Reason = Annotated[str, AfterValidator(not_blank)]


class DestinationPause(WireModel):
    """Why a destination is paused."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(
        min_length=1, max_length=REASON_MAX, description=f"a text of 1 to {REASON_MAX} characters, not blank"
    )


class DestinationResume(WireModel):
    """Why a destination is resumed, if there is something to say."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(
        None, min_length=1, max_length=REASON_MAX, description=f"a text of 1 to {REASON_MAX} characters, or null"
    )


class DestinationLimit(WireModel):
    """The most calls in flight over all workers."""

    model_config = ConfigDict(extra="forbid")

    concurrency: int | None = Field(description="a number from 1; null restores the setting")


class DestinationResource(WireModel):
    """A destination, and what waits for it."""

    name: str = Field(description="`n8n`, `odoo` for the first Odoo, or `odoo:<name>` for another")
    label: str = Field(description="its name for people")
    state: Availability = Field(
        description="`closed`: it is called; `open`: its breaker is open, because it is away; `paused`: operators have "
        "paused it"
    )
    since: datetime | None = Field(description="the time since which it has been `open` or `paused`; null if `closed`")
    paused_by: str | None = Field(description="who has paused it; null unless `paused`")
    pause_reason: str | None = Field(description="why it is paused; null unless `paused`")
    away_since: datetime | None = Field(
        description="the time since which its breaker has been open, also while it is paused; null if it is closed"
    )
    probe_at: datetime | None = Field(description="the time of the next probe; null unless `open`")
    error_code: str | None = Field(description="the last error while its breaker is open")
    error_detail: str | None = Field(description="the same in a sentence")
    backlog: int = Field(description="outbox entries that have not ended (10000: or more)")
    oldest: datetime | None = Field(description="the time at which the oldest of them was first due")
    in_flight: int = Field(description="calls in flight over all workers")
    concurrency: int | None = Field(
        description="the most calls in flight over all workers: what operators have set, else the setting; null: only "
        "each worker's own limit"
    )
    configured: int | None = Field(description="the setting, which counts unless operators have set another limit")
    allowance: int | None = Field(
        description="the most calls in flight now; less than `concurrency` after slow or failed calls of an Odoo"
    )

    @classmethod
    def of(cls, status: DestinationStatus) -> "DestinationResource":
        """Returns a destination in the form of the API."""
        return cls(**asdict(status))


class DestinationChanged(DestinationResource):
    """A destination after an action."""

    changed: bool = Field(
        description="false: it was already as wanted, which another operator may have done; nothing was recorded"
    )

    @classmethod
    def made(cls, status: DestinationStatus, *, changed: bool) -> "DestinationChanged":
        """Returns a destination in the form of the API."""
        values: dict[str, Any] = asdict(status)
        return cls(**values, changed=changed)


class DestinationList(WireModel):
    """The destinations that can be paused and limited."""

    items: list[DestinationResource] = Field(description="N8N first, then each Odoo")

    @classmethod
    def of(cls, statuses: list[DestinationStatus]) -> "DestinationList":
        """Returns destinations in the form of the API."""
        return cls(items=[DestinationResource.of(status) for status in statuses])
