"""The worker's other tasks, every so often: fail what is overdue, prove that nothing was forgotten, and purge.

Purging has a loop of its own, so that it never holds the other two up.
"""

import asyncio
import contextlib

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.execution import RESENDS, never_began
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.purge import purge
from aigen_bridge.settings import RetentionSettings, Settings
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.wiring import WorkerParts

log = structlog.get_logger(__name__)


async def sweep(parts: WorkerParts, stop: asyncio.Event) -> None:
    """Sweep now and after every poll, until `stop` is set. Every worker does; the store keeps them apart."""
    while not stop.is_set():
        metrics.LOOPS.labels("sweep").set_to_current_time()
        try:
            await _expire(parts.sweeps, parts.settings)
            await _send_again(parts.sweeps)
            await _reconcile(parts.sweeps)
            await parts.alerts.quieten()
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="sweep", reason=error.reason)
        except Exception:  # a bug must not end the sweeping
            log.exception("sweep.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), parts.settings.worker.poll.total_seconds())


async def purge_regularly(retention: Retention, settings: RetentionSettings, stop: asyncio.Event) -> None:
    """Purge now and every so often, until `stop` is set. Of all workers, one at a time does."""
    while not stop.is_set():
        try:
            await purge(retention, settings, stop, alone=True)
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="purge", reason=error.reason)
        except Exception:  # a bug must not end the worker
            log.exception("purge.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), settings.every.total_seconds())


async def _expire(sweeps: Sweeps, settings: Settings) -> None:
    while overdue := await sweeps.expire(lambda request_id: timed_out(request_id, settings.callback.deadline)):
        metrics.TIMED_OUT.inc(len(overdue))
        for request_id in overdue:
            log.error("request.timed_out", request_id=str(request_id))


async def _send_again(sweeps: Sweeps) -> None:
    for request_id in await sweeps.send_again(never_began, RESENDS):
        log.error("request.never_began", request_id=str(request_id))


async def _reconcile(sweeps: Sweeps) -> None:
    for repair in await sweeps.reconcile():
        metrics.REPAIRED.labels(repair.what).inc()
        log.critical("request.was_forgotten", request_id=str(repair.request_id), repaired=repair.what)
