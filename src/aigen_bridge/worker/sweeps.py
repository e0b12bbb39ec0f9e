"""The periodic sweeps of a worker: the ledger, overdue, never started and orphaned requests, budgets, incidents."""

import asyncio
import contextlib

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.execution import RESENDS_MAX, never_started
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.settings import Settings
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.generations import BATCH, Generations
from aigen_bridge.store.ledger import BATCH as SETTLED_AT_ONCE
from aigen_bridge.store.ledger import Ledger
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.wiring import WorkerParts

SETTLE_EVERY = 1.0
"""Seconds between two looks for requests that are to be settled."""

log = structlog.get_logger(__name__)


async def sweep(parts: WorkerParts, stop: asyncio.Event) -> None:
    """Sweeps now and at every poll interval until `stop` is set. Every worker does so; the store coordinates them."""
    while not stop.is_set():
        metrics.LOOPS.labels("sweep").set_to_current_time()
        try:
            await _end_quiet(parts.generations)
            await _expire(parts.sweeps, parts.settings)
            await _send_again(parts.sweeps)
            await _reconcile(parts.sweeps)
            await _notice(parts.budgets)
            await parts.budgets.forget_ended()
            await parts.alerts.end_quiet_incidents()
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="sweep", reason=error.reason)
        except Exception:  # a bug must not end the sweeps
            log.exception("sweep.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), parts.settings.worker.poll.total_seconds())


async def settle_regularly(ledger: Ledger, stop: asyncio.Event) -> None:
    """Settles the requests that changed, now and every `SETTLE_EVERY` seconds, until `stop` is set."""
    while not stop.is_set():
        metrics.LOOPS.labels("settle").set_to_current_time()
        try:
            await _settle(ledger, stop)
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="settle", reason=error.reason)
        except Exception:  # a bug must not end the worker
            log.exception("settle.bug")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SETTLE_EVERY)


async def _settle(ledger: Ledger, stop: asyncio.Event) -> None:
    last, number = 0, SETTLED_AT_ONCE
    while number == SETTLED_AT_ONCE and not stop.is_set():
        settled = await ledger.settle(last)
        for occurrence in settled.absurd:
            log.error("ledger.cost_absurd", request_id=str(occurrence.request_id), detail=occurrence.detail)
        last, number = settled.last, settled.number


async def _end_quiet(generations: Generations) -> None:
    handled = BATCH
    while handled == BATCH:
        ended = await generations.end_quiet()
        for request_id, note in ended:
            if note:
                log.error("generation.silent", request_id=str(request_id), detail=note)
        handled = len(ended)


async def _expire(sweeps: Sweeps, settings: Settings) -> None:
    while overdue := await sweeps.expire(lambda request_id: timed_out(request_id, settings.callback.deadline)):
        metrics.TIMED_OUT.inc(len(overdue))
        for request_id in overdue:
            log.error("request.timed_out", request_id=str(request_id))


async def _send_again(sweeps: Sweeps) -> None:
    for request_id in await sweeps.send_again(never_started, RESENDS_MAX):
        log.error("execution.never_started", request_id=str(request_id))


async def _reconcile(sweeps: Sweeps) -> None:
    for repair in await sweeps.reconcile():
        metrics.REPAIRED.labels(repair.what).inc()
        log.critical("request.orphaned", request_id=str(repair.request_id), repaired=repair.what)


async def _notice(budgets: ChangeableBudgets) -> None:
    for words in await budgets.notice():
        log.warning("budget.notice", detail=words)
