"""Deletes data past its retention period in batches, with a pause after each."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store.retention import Retention

PAUSE = 0.05
"""Seconds between batches, which leaves PostgreSQL time for other work."""

log = structlog.get_logger(__name__)


async def purge_regularly(retention: Retention, settings: RetentionSettings, stop: asyncio.Event) -> None:
    """Purges now and at every interval until `stop` is set. Only one worker purges at a time."""
    while not stop.is_set():
        try:
            await purge(retention, settings, stop, exclusive=True)
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="purge", reason=error.reason)
        except Exception:  # a bug must not end the worker
            log.exception("purge.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), settings.every.total_seconds())


def periods(settings: RetentionSettings) -> Iterator[tuple[RetentionClass, timedelta | None]]:
    """Yields the retention period of each class in the order of deletion. None keeps the data forever."""
    for retention_class in RetentionClass:
        yield retention_class, getattr(settings, retention_class.value)


async def purge(
    retention: Retention, settings: RetentionSettings, stop: asyncio.Event, *, exclusive: bool = False
) -> dict[RetentionClass, int]:
    """Deletes all data past its retention period. Returns the number of deleted rows per class.

    Setting `stop` ends the purge after the current batch. `exclusive`: does nothing while another worker is purging.
    """
    deleted = dict.fromkeys(RetentionClass, 0)
    try:
        for retention_class, period in periods(settings):
            more = period is not None
            while period is not None and more and not stop.is_set():
                batch = await retention.purge(retention_class, period, exclusive=exclusive)
                metrics.PURGED.labels(retention_class.value).inc(batch.deleted)
                deleted[retention_class] += batch.deleted
                if more := batch.more:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), PAUSE)
    finally:
        if any(deleted.values()):
            log.info("retention.purged", **{name.value: rows for name, rows in deleted.items()})
    return deleted
