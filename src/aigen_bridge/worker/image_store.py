"""Looks regularly whether the image store answers. An incident lasts while it does not."""

import asyncio
import contextlib

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.image_watch import ImageStoreWatch

EVERY = 15.0
"""Seconds between two looks."""

log = structlog.get_logger(__name__)


async def watch_image_store(watch: ImageStoreWatch, stop: asyncio.Event) -> None:
    """Looks now and every `EVERY` seconds until `stop` is set. Every worker does so."""
    while not stop.is_set():
        metrics.LOOPS.labels("image_store").set_to_current_time()
        try:
            if reason := await watch.look():
                log.error("image_store.away", reason=reason)
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="image store", reason=error.reason)
        except Exception:  # a bug must not end the worker
            log.exception("image_store.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), EVERY)
