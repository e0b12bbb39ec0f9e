"""Runs a worker: its lanes, the sweeps, the purge, background replays, and checks of expiry and of the image store."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.queues import lane_of
from aigen_bridge.settings import Settings
from aigen_bridge.settings.report import rotating
from aigen_bridge.settings.rotation import Rotation
from aigen_bridge.store.wakeup import EVERYTHING
from aigen_bridge.wiring import WorkerParts, open_worker
from aigen_bridge.worker.certificates import watch_expiry
from aigen_bridge.worker.image_store import watch_image_store
from aigen_bridge.worker.images import tend_images
from aigen_bridge.worker.lanes import Lane
from aigen_bridge.worker.purge import purge_regularly
from aigen_bridge.worker.replays import replay_regularly
from aigen_bridge.worker.sweeps import settle_regularly, sweep

log = structlog.get_logger(__name__)


async def run_worker(settings: Settings, stop: asyncio.Event, rotation: Rotation | None = None) -> None:
    """Works until `stop` is set, then finishes the claims in progress within the grace time and releases the rest.

    Without a `rotation`, its secrets never change.
    """
    rotation = rotation or Rotation(settings)
    async with open_worker(settings, rotation) as parts, rotating(rotation, "worker"):
        lanes = _lanes(parts)
        background = [
            asyncio.create_task(parts.listen(lambda queue: _wake(lanes, queue))),
            asyncio.create_task(_wake_at_stop(lanes, stop)),
            asyncio.create_task(_warn_of_unknown_odoos(parts)),
        ]
        log.info("worker.started", steps=list(lanes))
        try:
            sweeping = sweep(parts, stop)
            purging = purge_regularly(parts.retention, settings.retention, stop)
            watching = watch_expiry(rotation, stop)
            settling = settle_regularly(parts.ledger, stop)
            replaying = replay_regularly(parts.replay_jobs, settings.worker.lease, stop)
            looking = watch_image_store(parts.image_watch, stop)
            regular = [sweeping, purging, watching, settling, replaying, looking]
            if parts.image_sweep and parts.image_moves:
                regular.append(tend_images(parts.image_sweep, parts.image_moves, stop))
            await asyncio.gather(*regular, *(lane.run(stop) for lane in lanes.values()))
        finally:
            for task in background:
                task.cancel()
        log.info("worker.stopped")


def _lanes(parts: WorkerParts) -> dict[str, Lane[Any]]:
    worker = parts.settings.worker
    lanes: dict[str, Lane[Any]] = {
        name: Lane(runner, parts.outbox, worker, name) for name, runner in parts.runners.items()
    }
    return lanes | {parts.alert.step.value: Lane(parts.alert, parts.alerts, worker)}


def _wake(lanes: Mapping[str, Lane[Any]], queue: str) -> None:
    if lane := lanes.get(lane_of(queue)):
        lane.on_new_entry()
    elif queue == EVERYTHING:
        for each in lanes.values():
            each.wake.set()


async def _warn_of_unknown_odoos(parts: WorkerParts) -> None:
    """Logs how many entries wait for an Odoo that is not in the settings: no worker with these settings claims them."""
    try:
        for backlog in await parts.inspection.unknown_odoos():
            log.warning("odoo.unknown", odoo=backlog.kind, entries=backlog.count, setting="AIGEN_ODOOS")
    except StoreUnavailableError as error:
        log.warning("store.unavailable", step="start", reason=error.reason)


async def _wake_at_stop(lanes: Mapping[str, Lane[Any]], stop: asyncio.Event) -> None:
    await stop.wait()
    _wake(lanes, EVERYTHING)
