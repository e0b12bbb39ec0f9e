"""The loop of one lane: claim, run, settle.

Each step has a lane of its own, so a slow Odoo does not delay dispatching. `deliver` has one for each Odoo.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Generic, Protocol

import structlog

from aigen_bridge import metrics, tracing
from aigen_bridge.domain.errors import (
    IMAGE_STORE_AWAY,
    InternalError,
    PermanentError,
    StepError,
    StoreUnavailableError,
)
from aigen_bridge.domain.outbox import Claim, Dead, Done, Due, Held, L, Lease, Outcome, Retry, Settlement
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import RetryAt, decide
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import WorkerSettings
from aigen_bridge.worker.attempts import describe, record_attempt

CLAIM_MAX = 100
"""The most entries claimed in one transaction."""
STORE_PAUSE = 1.0
"""Seconds before the next call to a database that did not answer."""
FULL_PAUSE = 2.0
"""Seconds after which a lane that is full looks whether operators have raised its limit."""
CONTENDED_PAUSE = 0.02
"""Seconds before the next claim while the due entries are locked by other workers."""
LEASES_LOST_MAX = 4
"""Leases lost in a row after which an entry is poison: it is assumed to kill its workers."""
IMAGE_STORE_PAUSE, IMAGE_STORE_PAUSE_MAX = timedelta(seconds=30), timedelta(minutes=5)
"""The shortest and the longest wait of an entry whose image is in an object store that does not answer."""
HELD_TOO_LONG = "The system was away for longer than the entry may be held; replay it when the system is back."
UNMARKED_TOO_LONG = "No image could be marked for longer than this one may be held. Its attempts say why."
BUG_TRIES = 3
"""Attempts after an unexpected exception. It is a bug of the bridge, but may be transient."""

log = structlog.get_logger(__name__)


class Queue(Protocol[L]):
    """The store of a lane's entries."""

    async def claim(
        self, lane: str, *, limit: int, lease: timedelta, owner: str, in_progress: Collection[Lease] = ()
    ) -> Sequence[L]: ...
    def limit(self, lane: str) -> int | None: ...
    async def next_due(self, lane: str) -> Due: ...
    async def settle(self, settlement: Settlement[L]) -> Outcome | None: ...
    async def extend(self, claims: Sequence[Lease], lease: timedelta) -> None: ...
    async def release(self, claims: Sequence[Lease]) -> None: ...


def image_store_pause(age: timedelta) -> timedelta:
    """Returns how long an entry of this age waits for the image store: a tenth of it, within the limits.

    Each wait writes an attempt, and thousands of entries may wait for a day.
    """
    return max(IMAGE_STORE_PAUSE, min(age / 10, IMAGE_STORE_PAUSE_MAX))


class Lane(Generic[L]):
    """The loop of one lane. Sleeps until the next entry is due, a notification arrives, or the poll interval ends.

    `name` is the lane's (`lane_of`), by default that of the default Odoo.
    """

    def __init__(
        self,
        runner: StepRunner[L],
        queue: Queue[L],
        settings: WorkerSettings,
        name: str | None = None,
    ) -> None:
        self.wake = asyncio.Event()
        self._name = name or runner.step.value
        self._runner = runner
        self._queue = queue
        self._settings = settings
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._random = random.Random()  # noqa: S311 - for jitter
        self._in_progress: dict[asyncio.Task[None], L] = {}
        self._is_blocked = False
        self._claimed_at = 0.0

    def on_new_entry(self) -> None:
        """Wakes the lane for a new entry, unless its destination accepts no more calls."""
        if not self._is_blocked:
            self.wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then drains."""
        extending = asyncio.create_task(self._extend_leases())
        try:
            while not stop.is_set():
                self.wake.clear()
                self._is_blocked = False
                metrics.LOOPS.labels(self._name).set_to_current_time()
                pause = await self._claim()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), pause)
            await self._drain()
        finally:
            extending.cancel()

    async def _extend_leases(self) -> None:
        """Extends the leases of the claims in progress, because a step may take longer than a lease."""
        while True:
            await asyncio.sleep(self._settings.lease.total_seconds() / 3)
            if self._in_progress:
                try:
                    await self._queue.extend(list(self._in_progress.values()), self._settings.lease)
                except StoreUnavailableError as error:
                    log.warning("store.unavailable", step=self._name, reason=error.reason)

    async def _claim(self) -> float:
        """Claims due entries and starts their steps. Returns the number of seconds to sleep."""
        poll = self._settings.poll.total_seconds()
        limit = self._free()
        requested_at = time.monotonic()  # before the database's `claimed_at`, so no wait is too short
        if not limit:
            self._is_blocked = True  # the first claim to finish wakes the lane
            if requested_at - self._claimed_at < FULL_PAUSE:
                return min(poll, FULL_PAUSE)
        self._claimed_at = requested_at
        try:
            claims = await self._queue.claim(
                self._name,
                limit=limit,
                lease=self._settings.lease,
                owner=self._owner,
                in_progress=self._in_progress.values(),
            )
            for claim in claims:
                self._start(claim, requested_at)
            if len(claims) == limit:
                return 0 if limit or self._free() else min(poll, FULL_PAUSE)
            due = await self._queue.next_due(self._name)
            self._is_blocked = due.is_blocked
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step=self._name, reason=error.reason)
            return STORE_PAUSE
        except Exception:  # a bug or missing privileges must not end this lane or the others
            log.exception("worker.claim_failed", step=self._name)
            return STORE_PAUSE
        return poll if due.after is None else min(poll, max(due.after.total_seconds(), CONTENDED_PAUSE))

    def _free(self) -> int:
        """Returns how many entries may be claimed. Operators may have raised the limit of the settings."""
        most = max(self._runner.concurrency, self._queue.limit(self._name) or 0)
        return max(0, min(most - len(self._in_progress), CLAIM_MAX))

    def _start(self, claim: L, requested_at: float) -> None:
        task = asyncio.create_task(self._work(claim, requested_at))
        self._in_progress[task] = claim
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return  # `_drain` releases its claim
        claim = self._in_progress.pop(task)
        if error := task.exception():  # a bug: the lease expires, and the entry is claimed again
            log.error("worker.bug", entry_id=claim.entry_id, exc_info=error)
        self.wake.set()

    async def _work(self, claim: L, requested_at: float) -> None:
        structlog.contextvars.bind_contextvars(step=claim.step.value, attempt=claim.attempt, **claim.about)
        started = time.monotonic()
        with tracing.span(claim.step.value, "consumer", claim.traceparent) as span:
            outcome = await self._outcome(claim, requested_at)
            describe(span, claim, outcome)
        took = timedelta(seconds=time.monotonic() - started)
        await self._settle_within_lease(Settlement(claim, outcome, took), requested_at)

    async def _outcome(self, claim: L, requested_at: float) -> Outcome:
        try:
            self._reject_untried(claim)
            return Done(await self._runner.run(claim))
        except StepError as error:
            failure = error
        except StoreUnavailableError as error:
            failure = InternalError(error.code, error.detail)
        except Exception as error:
            log.exception("step.bug")
            failure = InternalError("unexpected", f"{type(error).__name__} (see the log).", tries=BUG_TRIES)
        now = claim.claimed_at + timedelta(seconds=time.monotonic() - requested_at)
        until = self._runner.policy.until(claim.began_at, claim.give_up_at)
        if failure.code == IMAGE_STORE_AWAY:
            at = now + image_store_pause(now - claim.began_at)
            if until is None or at <= until:
                return Held(failure, at)  # costs no attempt: the entry waits for no fault of its own
        verdict = decide(self._runner.policy, claim.attempt, failure, now, until, self._random)
        if isinstance(verdict, RetryAt):
            return Retry(verdict.at, failure)
        return Dead(failure, self._runner.gave_up(failure))

    def _reject_untried(self, claim: L) -> None:
        """Raises `PermanentError` for an entry that is not to be tried: unreadable, held too long, or poison."""
        if claim.unreadable:
            raise PermanentError("unreadable", claim.unreadable)
        if isinstance(claim, Claim) and claim.held_too_long:
            raise PermanentError("destination_out", HELD_TOO_LONG if claim.step is not Step.MARK else UNMARKED_TOO_LONG)
        exhausted = claim.attempt > 1 and self._runner.policy.wait_after(claim.attempt - 1) is None
        if exhausted or claim.leases_lost >= LEASES_LOST_MAX:
            raise PermanentError("lease_lost", "No worker finished it: each lost its lease or died.")

    async def _settle_within_lease(self, settlement: Settlement[L], requested_at: float) -> None:
        """Records the outcome. While the database does not answer, retries until the lease ends."""
        until = requested_at + self._settings.lease.total_seconds()
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
        if self._in_progress:
            await asyncio.wait(self._in_progress, timeout=self._settings.grace.total_seconds())
        unfinished = list(self._in_progress)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        claims = [self._in_progress.pop(task) for task in unfinished if task in self._in_progress]
        if claims:
            log.info("lease.released", step=self._name, entries=len(claims))
            try:
                await self._queue.release(claims)
            except StoreUnavailableError as error:  # the leases expire by themselves
                log.warning("store.unavailable", step=self._name, reason=error.reason)
