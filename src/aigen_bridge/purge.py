"""Purging: batch after batch of what was kept long enough, with a pause for others between two."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import structlog

from aigen_bridge import metrics
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store.retention import Kept, Retention

PAUSE = 0.05
"""Seconds between two batches: PostgreSQL has other work."""

log = structlog.get_logger(__name__)


def ages(settings: RetentionSettings) -> Iterator[tuple[Kept, timedelta | None]]:
    """For how long each thing is kept, in the order in which they go; None is for ever."""
    for kept in Kept:
        yield kept, getattr(settings, kept.value)


async def purge(
    retention: Retention, settings: RetentionSettings, stop: asyncio.Event, *, alone: bool = False
) -> dict[Kept, int]:
    """Remove all that was kept long enough; ends early, between two batches, when `stop` is set.

    Returns how many rows went. `alone`: leave it to another worker who is just doing so.
    """
    removed = dict.fromkeys(Kept, 0)
    try:
        for kept, kept_for in ages(settings):
            if kept_for is not None:
                await _purge(retention, kept, kept_for, stop, removed, alone=alone)
    finally:
        if any(removed.values()):
            log.info("retention.purged", **{kept.value: rows for kept, rows in removed.items()})
    return removed


async def _purge(
    retention: Retention,
    kept: Kept,
    kept_for: timedelta,
    stop: asyncio.Event,
    removed: dict[Kept, int],
    *,
    alone: bool,
) -> None:
    more = True
    while more and not stop.is_set():
        batch = await retention.purge(kept, kept_for, alone=alone)
        metrics.PURGED.labels(kept.value).inc(batch.removed)
        removed[kept] += batch.removed
        if more := batch.more:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE)
