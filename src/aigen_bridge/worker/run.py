"""Runs a worker: a lane per step, the sweeps, the purge and the expiry checks."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from aigen_bridge.settings import Settings
from aigen_bridge.settings.report import rotating
from aigen_bridge.settings.rotation import Rotation
from aigen_bridge.store.wakeup import EVERYTHING
from aigen_bridge.wiring import WorkerParts, open_worker
from aigen_bridge.worker.certificates import watch_expiry
from aigen_bridge.worker.lanes import Lane
from aigen_bridge.worker.purge import purge_regularly
from aigen_bridge.worker.sweeps import sweep

log = structlog.get_logger(__name__)


async def run_worker(settings: Settings, stop: asyncio.Event, rotation: Rotation | None = None) -> None:
    """Works until `stop` is set, then finishes the claims in progress within the grace time and releases the rest.

    Without a `rotation`, its secrets never change.
    """
    rotation = rotation or Rotation(settings)
    async with open_worker(settings, rotation) as parts, rotating(rotation, "worker"):
        lanes = _lanes(parts)
        background = [
            asyncio.create_task(parts.listen(lambda step: _wake(lanes, step))),
            asyncio.create_task(_wake_at_stop(lanes, stop)),
        ]
        log.info("worker.started", steps=list(lanes))
        try:
            sweeping = sweep(parts, stop)
            purging = purge_regularly(parts.retention, settings.retention, stop)
            watching = watch_expiry(rotation, stop)
            await asyncio.gather(sweeping, purging, watching, *(lane.run(stop) for lane in lanes.values()))
        finally:
            for task in background:
                task.cancel()
        log.info("worker.stopped")


def _lanes(parts: WorkerParts) -> dict[str, Lane[Any]]:
    worker = parts.settings.worker
    lanes: dict[str, Lane[Any]] = {r.step.value: Lane(r, parts.outbox, worker) for r in parts.runners}
    return lanes | {parts.alert.step.value: Lane(parts.alert, parts.alerts, worker)}


def _wake(lanes: Mapping[str, Lane[Any]], step: str) -> None:
    if step in lanes:
        lanes[step].on_new_entry()
        return
    for lane in lanes.values():
        lane.wake.set()


async def _wake_at_stop(lanes: Mapping[str, Lane[Any]], stop: asyncio.Event) -> None:
    await stop.wait()
    _wake(lanes, EVERYTHING)
