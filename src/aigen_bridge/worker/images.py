"""Tends the object store: moves images there that had to stay in PostgreSQL, and deletes what nothing refers to."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.image_moves import ImageMoves, Walk
from aigen_bridge.store.image_places import Target
from aigen_bridge.store.image_sweep import BATCH, ImageSweep

LOOK_EVERY = 10.0
"""Seconds between two looks for something to do."""
TURN = 30.0
"""Seconds for which one worker moves images. Then any worker may."""
PAUSE = 0.05
"""Seconds between two images, at least. A slow store gets a pause as long as it took."""

log = structlog.get_logger(__name__)


async def tend_images(sweep: ImageSweep, moves: ImageMoves, stop: asyncio.Event) -> None:
    """Tends the object store until `stop` is set. Every worker does so; the database coordinates them."""
    walk = moves.walk(Target.STORE, page=1)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        "images.move": lambda: _move(moves, walk, stop),
        "images.find": lambda: _find(sweep),
        "images.delete": lambda: _delete(sweep, stop),
    }
    while not stop.is_set():
        for name, task in tasks.items():
            metrics.LOOPS.labels("images").set_to_current_time()
            try:
                await task()
            except StoreUnavailableError as error:
                log.warning("store.unavailable", step=name, reason=error.reason)
                break
            except Exception:  # a bug must not end the worker
                log.exception("images.bug", step=name)
        await _pause(stop, LOOK_EVERY)


async def _move(moves: ImageMoves, walk: Walk, stop: asyncio.Event) -> None:
    if not await moves.take_turn(TURN):
        return
    began_at, images = time.monotonic(), 0
    try:
        while (at := time.monotonic()) < began_at + TURN and not stop.is_set() and (moved := await walk.next_page()):
            images += moved.images
            await _pause(stop, max(PAUSE, time.monotonic() - at))
    finally:
        if images:
            log.info("images.moved", images=images)


async def _find(sweep: ImageSweep) -> None:
    if noted := await sweep.find():
        log.info("images.unreferenced", objects=noted)


async def _delete(sweep: ImageSweep, stop: asyncio.Event) -> None:
    deleted = BATCH
    while deleted == BATCH and not stop.is_set():
        deleted = await sweep.delete()
        if deleted:
            log.info("images.deleted", objects=deleted)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
