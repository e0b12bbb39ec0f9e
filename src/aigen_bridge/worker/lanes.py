"""The loop of one step: claim, run, settle. Each step has its own lane, so a slow Odoo never delays dispatching."""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Generic, Protocol

import structlog

from aigen_bridge import metrics, tracing
from aigen_bridge.domain.errors import InternalError, PermanentError, StepError, StoreUnavailableError
from aigen_bridge.domain.outbox import Claim, Due, L, Lease, Settlement
from aigen_bridge.domain.outcome import Dead, Done, Outcome, Retry
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import RetryAt, decide
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import WorkerSettings
from aigen_bridge.worker.attempts import describe, record_attempt

CLAIM_MAX = 100
"""Entries claimed in one transaction, at most."""
STORE_PAUSE = 1.0
"""Seconds before asking a database again that did not answer."""
CONTENDED_PAUSE = 0.02
"""Seconds before looking again at an entry that is due but in another worker's hand."""
LEASES_LOST_MAX = 4
"""An entry whose worker was lost that often in a row kills its workers."""
BUG_TRIES = 3
"""An unknown exception is a bug of ours; it may pass, within these tries."""

log = structlog.get_logger(__name__)


class Queue(Protocol[L]):
    """Where a lane's entries come from."""

    async def claim(self, step: Step, *, limit: int, lease: timedelta, owner: str) -> Sequence[L]: ...
    async def next_due(self, step: Step) -> Due: ...
    async def settle(self, settlement: Settlement[L]) -> Outcome | None: ...
    async def extend(self, claims: Sequence[Lease], lease: timedelta) -> None: ...
    async def release(self, claims: Sequence[Lease]) -> None: ...


class Lane(Generic[L]):
    """The loop for one step. Sleeps until the next entry is due, somebody wakes it, or the poll is due."""

    def __init__(
        self,
        runner: StepRunner[L],
        queue: Queue[L],
        settings: WorkerSettings,
    ) -> None:
        self.wake = asyncio.Event()
        self._runner = runner
        self._queue = queue
        self._settings = settings
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._random = random.Random()  # noqa: S311 - for jitter
        self._in_hand: dict[asyncio.Task[None], L] = {}
        self._is_blocked = False

    def work_came(self) -> None:
        """There is a new entry: worth a look, unless the destination takes nothing more whatever there is."""
        if not self._is_blocked:
            self.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain."""
        holding = asyncio.create_task(self._hold_leases())
        try:
            while not stop.is_set():
                self.wake.clear()
                self._is_blocked = False
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
            self._is_blocked = due.is_blocked
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
        """Gives up entries that were held for too long, and poison entries: they are dead-lettered untried."""
        if claim.unreadable:
            raise PermanentError("unreadable", claim.unreadable)
        if isinstance(claim, Claim) and claim.held_too_long:
            detail = "The system was away for longer than the entry may be held; replay it when the system is back."
            raise PermanentError("destination_out", detail)
        used_up = claim.attempt > 1 and self._runner.policy.wait_after(claim.attempt - 1) is None
        if used_up or claim.leases_lost >= LEASES_LOST_MAX:
            raise PermanentError("lease_lost", "No worker finished it: each lost its lease or died.")

    async def _settle_within_lease(self, settlement: Settlement[L], asked_at: float) -> None:
        """Records the outcome; while the database is away it tries again until the lease ends."""
        until = asked_at + self._settings.lease.total_seconds()
        while True:
            try:
                outcome = await self._queue.settle(settlement)
                record_attempt(settlement, outcome)
            except StoreUnavailableError as error:
                if time.monotonic() + STORE_PAUSE > until:
                    log.error("lease.settle_failed", entry_id=settlement.claim.entry_id, reason=error.reason)  # noqa: TRY400
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
            log.info("lease.released", step=self._runner.step.value, entries=len(claims))
            try:
                await self._queue.release(claims)
            except StoreUnavailableError as error:  # their leases run out by themselves
                log.warning("store.unavailable", step=self._runner.step.value, reason=error.reason)
