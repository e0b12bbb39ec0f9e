"""Claim → run the step → settle: the only loop. Each step has a lane of its own, so that a slow Odoo never
holds up dispatching.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

import structlog

from aigen_bridge import metrics, tracing
from aigen_bridge.domain.errors import InternalError, PermanentError, StepError, StoreUnavailableError
from aigen_bridge.domain.outcome import Dead, Done, Outcome, Retry
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import RetryAt, decide
from aigen_bridge.expiry import watch_expiry
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import Settings, WorkerSettings
from aigen_bridge.store.connection import PATIENCE
from aigen_bridge.store.group_commit import GroupCommit
from aigen_bridge.store.leases import Claim, Due, L, Lease, Settlement
from aigen_bridge.store.wakeup import EVERYTHING
from aigen_bridge.sweeper import purge_regularly, sweep
from aigen_bridge.tally import describe, tally
from aigen_bridge.wiring import WorkerParts, open_worker

CLAIM_MAX, SETTLE_MAX = 100, 200
"""Entries claimed and claims settled in one transaction, at most."""
STORE_PAUSE = 1.0
"""Seconds before asking a database again that did not answer."""
CONTENDED_PAUSE = 0.02
"""Seconds before looking again at an entry that is due but in another worker's hand."""
LEASES_LOST_MAX = 4
"""An entry whose worker was lost that often in a row kills its workers."""
BUG_TRIES = 3
"""An unknown exception is a bug of ours; it may pass, within these tries."""

L_co = TypeVar("L_co", bound=Lease, covariant=True)

log = structlog.get_logger(__name__)


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then finish what is in hand within the grace time and give the rest back."""
    async with open_worker(settings) as parts:
        lanes = _lanes(parts)
        helpers = [
            asyncio.create_task(parts.listen(lambda step: _wake(lanes, step))),
            asyncio.create_task(_wake_at_stop(lanes, stop)),
        ]
        log.info("worker.started", steps=list(lanes))
        try:
            sweeping = sweep(parts, stop)
            purging = purge_regularly(parts.retention, settings.retention, stop)
            expiry = watch_expiry(settings, stop)
            await asyncio.gather(sweeping, purging, expiry, *(lane.run(stop) for lane in lanes.values()))
        finally:
            for helper in helpers:
                helper.cancel()
        log.info("worker.stopped")


def _lanes(parts: WorkerParts) -> dict[str, "Lane[Any]"]:
    how, patience = parts.settings.worker, parts.settings.database.timeout * PATIENCE  # images are settled, too
    settle = GroupCommit(parts.outbox.settle, most=SETTLE_MAX, patience=patience)
    lanes: dict[str, Lane[Any]] = {r.step.value: Lane(r, parts.outbox, settle, how) for r in parts.runners}
    tell = GroupCommit(parts.alerts.settle, most=SETTLE_MAX, patience=patience)
    return lanes | {parts.alert.step.value: Lane(parts.alert, parts.alerts, tell, how)}


def _wake(lanes: Mapping[str, "Lane[Any]"], step: str) -> None:
    if step in lanes:
        lanes[step].work_came()
        return
    for lane in lanes.values():
        lane.wake.set()


async def _wake_at_stop(lanes: Mapping[str, "Lane[Any]"], stop: asyncio.Event) -> None:
    await stop.wait()
    _wake(lanes, EVERYTHING)


class Queue(Protocol[L_co]):
    """Where a lane's entries come from."""

    async def claim(self, step: Step, *, limit: int, lease: timedelta, owner: str) -> Sequence[L_co]: ...
    async def next_due(self, step: Step) -> Due: ...
    async def extend(self, claims: Sequence[Lease], lease: timedelta) -> None: ...
    async def release(self, claims: Sequence[Lease]) -> None: ...


class Lane(Generic[L]):
    """The loop for one step. Sleeps until the next entry is due, somebody wakes it, or the poll is due."""

    def __init__(
        self,
        runner: StepRunner[L],
        queue: Queue[L],
        settle: GroupCommit[Settlement[L], Outcome | None],
        settings: WorkerSettings,
    ) -> None:
        self.wake = asyncio.Event()
        self._runner = runner
        self._queue = queue
        self._settle = settle
        self._settings = settings
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._random = random.Random()  # noqa: S311 - for jitter
        self._in_hand: dict[asyncio.Task[None], L] = {}
        self._shut = False

    def work_came(self) -> None:
        """There is a new entry: worth a look, unless the destination takes nothing more whatever there is."""
        if not self._shut:
            self.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain."""
        holding = asyncio.create_task(self._hold_leases())
        try:
            while not stop.is_set():
                self.wake.clear()
                self._shut = False
                metrics.LOOPS.labels(self._runner.step.value).set_to_current_time()
                pause = await self._claim()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), pause)
            await self._drain()
        finally:
            holding.cancel()

    async def _hold_leases(self) -> None:
        """Extend the leases of what is in hand, so that a step may take longer than one."""
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            if self._in_hand:
                try:
                    await self._queue.extend(list(self._in_hand.values()), self._settings.lease)
                except StoreUnavailableError as error:
                    log.warning("store.unavailable", step=self._runner.step.value, reason=error.reason)

    async def _claim(self) -> float:
        """Take what is due and start on it; returns the seconds to sleep."""
        poll = self._settings.poll.total_seconds()
        limit = min(self._runner.concurrency - len(self._in_hand), CLAIM_MAX)
        if limit <= 0:
            return poll  # the first that is finished wakes us
        asked_at = time.monotonic()  # before the database's `claimed_at`: no wait comes out too short
        try:
            claims = await self._queue.claim(
                self._runner.step, limit=limit, lease=self._settings.lease, owner=self._owner
            )
            for claim in claims:
                self._start(claim, asked_at)
            if len(claims) == limit:
                return 0
            due = await self._queue.next_due(self._runner.step)
            self._shut = due.shut
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step=self._runner.step.value, reason=error.reason)
            return STORE_PAUSE
        except Exception:  # a bug, or rights that are missing: the other lanes go on, and so does this one
            log.exception("worker.claim_failed", step=self._runner.step.value)
            return STORE_PAUSE
        return poll if due.after is None else min(poll, max(due.after.total_seconds(), CONTENDED_PAUSE))

    def _start(self, claim: L, asked_at: float) -> None:
        task = asyncio.create_task(self._work(claim, asked_at))
        self._in_hand[task] = claim
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return  # `_drain` gives its claim back
        claim = self._in_hand.pop(task)
        if error := task.exception():  # a bug of ours: the lease runs out, and the entry is tried again
            log.error("worker.bug", entry_id=claim.entry_id, exc_info=error)
        self.wake.set()

    async def _work(self, claim: L, asked_at: float) -> None:
        structlog.contextvars.bind_contextvars(step=claim.step.value, attempt=claim.attempt, **claim.about)
        started = time.monotonic()
        with tracing.span(claim.step.value, "consumer", claim.traceparent) as span:
            outcome = await self._outcome(claim, asked_at)
            describe(span, claim, outcome)
        took = timedelta(seconds=time.monotonic() - started)
        await self._settle_within_lease(Settlement(claim, outcome, took), asked_at)

    async def _outcome(self, claim: L, asked_at: float) -> Outcome:
        try:
            self._refuse_hopeless(claim)
            return Done(await self._runner.run(claim))
        except StepError as error:
            failure = error
        except StoreUnavailableError as error:
            failure = InternalError(error.code, error.detail)
        except Exception as error:
            log.exception("step.bug")
            failure = InternalError("unexpected", f"{type(error).__name__} (see the log).", tries=BUG_TRIES)
        now = claim.claimed_at + timedelta(seconds=time.monotonic() - asked_at)
        until = self._runner.policy.until(claim.began_at, claim.give_up_at)
        verdict = decide(self._runner.policy, claim.attempt, failure, now, until, self._random)
        if isinstance(verdict, RetryAt):
            return Retry(verdict.at, failure)
        return Dead(failure, self._runner.gave_up(failure))

    def _refuse_hopeless(self, claim: L) -> None:
        """What was held for too long is given up; what takes every worker down with it does not go round for ever."""
        if claim.unreadable:
            raise PermanentError("unreadable", claim.unreadable)
        if isinstance(claim, Claim) and claim.held_too_long:
            detail = "The system was away for longer than the entry may be held; replay it when the system is back."
            raise PermanentError("destination_out", detail)
        used_up = claim.attempt > 1 and self._runner.policy.wait_after(claim.attempt - 1) is None
        if used_up or claim.leases_lost >= LEASES_LOST_MAX:
            raise PermanentError("lease_lost", "No worker finished it: each lost its lease or died.")

    async def _settle_within_lease(self, settlement: Settlement[L], asked_at: float) -> None:
        """What happened must be written down; a database that is away for a moment is waited for."""
        until = asked_at + self._settings.lease.total_seconds()
        while True:
            try:
                outcome = await self._settle(settlement)
                tally(settlement, outcome)
            except StoreUnavailableError as error:
                if time.monotonic() + STORE_PAUSE > until:
                    log.error("entry.not_settled", entry_id=settlement.claim.entry_id, reason=error.reason)  # noqa: TRY400
                    return
                await asyncio.sleep(STORE_PAUSE)
            else:
                return

    async def _drain(self) -> None:
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=self._settings.grace.total_seconds())
        left = list(self._in_hand)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        claims = [self._in_hand.pop(task) for task in left if task in self._in_hand]
        if claims:
            log.info("worker.gives_back", step=self._runner.step.value, entries=len(claims))
            try:
                await self._queue.release(claims)
            except StoreUnavailableError as error:  # their leases run out by themselves
                log.warning("store.unavailable", step=self._runner.step.value, reason=error.reason)
