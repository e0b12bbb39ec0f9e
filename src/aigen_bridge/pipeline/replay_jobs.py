"""Replays many dead letters in the background: begins and stops jobs for operators, and works on them for workers."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.dead_letter import DeadLetter, DeadLetterFilter, DeadLetterName, OperatorAction, ReplayLease
from aigen_bridge.domain.errors import (
    BridgeError,
    ReplayLeaseLostError,
    StoreUnavailableError,
    UnknownDeadLetterError,
)
from aigen_bridge.domain.replay_job import (
    ATTEMPTS_MAX,
    FIRST_MAX,
    LeasedReplay,
    Pace,
    ReplayJob,
    ReplayState,
    ReplayStep,
)
from aigen_bridge.pipeline.replay import Replays

BATCH = 100
"""Letters that are read at once."""
TURN = 2.0
"""Seconds for which a worker goes on with a job before the others have their turn."""
WAIT_MAX = 1.0
"""Seconds. A worker waits this long for the next letter of a job; otherwise it leaves the job until it is due."""

log = structlog.get_logger(__name__)


class Queue(Protocol):
    """The jobs, which workers lease."""

    async def begin(self, wanted: DeadLetterFilter, action: OperatorAction, per_second: float) -> ReplayJob: ...

    async def stop(self, number: int, action: OperatorAction) -> ReplayJob: ...

    async def claim(self, owner: str, lease: timedelta) -> LeasedReplay | None: ...

    async def advance(self, lease: ReplayLease, step: ReplayStep, extend: timedelta) -> Pace: ...

    async def release(self, lease: ReplayLease) -> None: ...

    async def end(self, lease: ReplayLease, state: ReplayState) -> None: ...


class DeadLetters(Protocol):
    """The list of dead letters."""

    async def count(self, wanted: DeadLetterFilter) -> int: ...

    async def following(
        self, wanted: DeadLetterFilter, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[DeadLetter]: ...


@dataclass(frozen=True, slots=True)
class ReplayPreview:
    """What a job would replay: the number of letters, and the first of them."""

    matched: int
    first: Sequence[DeadLetter]


@dataclass(frozen=True, slots=True)
class ReplayJobs:
    """The background replays."""

    queue: Queue
    replays: Replays
    dead_letters: DeadLetters

    async def preview(self, wanted: DeadLetterFilter, action: OperatorAction) -> ReplayPreview:
        """Returns what `begin` would replay. Changes nothing."""
        _check_odoo(wanted, action)
        wanted = action.limited(wanted)
        first = await self.dead_letters.following(wanted, None, FIRST_MAX)
        return ReplayPreview(await self.dead_letters.count(wanted), first)

    async def begin(self, wanted: DeadLetterFilter, action: OperatorAction, per_second: float) -> ReplayJob:
        """Begins a job that replays the letters that match now, oldest first, at most `per_second`."""
        _check_odoo(wanted, action)
        job = await self.queue.begin(action.limited(wanted), action, per_second)
        log.info("replay.began", job=job.id, matched=job.matched, by=job.client)
        return job

    async def stop(self, number: int, action: OperatorAction) -> ReplayJob:
        """Stops a job, after the letter that is being replayed. Raises `UnknownReplayError`."""
        return await self.queue.stop(number, action)

    async def work(self, owner: str, lease: timedelta, stop: asyncio.Event) -> bool:
        """Goes on with the job that has been due for the longest time, for a turn. Returns whether there was one."""
        leased = await self.queue.claim(owner, lease)
        if leased is None:
            return False
        try:
            await self._go_on(leased, lease, stop)
        except ReplayLeaseLostError as error:
            log.warning("replay.lease_lost", job=leased.job.id, detail=error.detail)
        except StoreUnavailableError:
            with contextlib.suppress(StoreUnavailableError):
                await self.queue.release(leased.lease)
            raise
        return True

    async def _go_on(self, leased: LeasedReplay, lease: timedelta, stop: asyncio.Event) -> None:
        """Replays letters until the turn is over, or the job."""
        if leased.job.state is ReplayState.STOPPING:
            await self._end(leased, ReplayState.STOPPED)
            return
        after, lost = leased.after, leased.leases_lost
        over_at = asyncio.get_running_loop().time() + TURN
        while letters := await self.dead_letters.following(leased.job.wanted, after, BATCH):
            for letter in letters:
                step = await self._step(letter, leased.action, lost)
                pace = await self.queue.advance(leased.lease, step, lease)
                after, lost = step.place, 0
                if pace.is_stopping:
                    await self._end(leased, ReplayState.STOPPED)
                    return
                if pace.wait > WAIT_MAX or asyncio.get_running_loop().time() >= over_at or await _waited(pace, stop):
                    await self.queue.release(leased.lease)
                    return
        await self._end(leased, ReplayState.FINISHED)

    async def _step(self, letter: DeadLetter, action: OperatorAction, lost: int) -> ReplayStep:
        """Replays a letter. Returns what came of it. `lost` leases ended at it without a word."""
        place = letter.at, letter.id
        if lost >= ATTEMPTS_MAX:
            return ReplayStep(place, letter.request_id, f"{lost} workers ended while they replayed it.")
        try:
            await self.replays.replay(DeadLetterName.parse(letter.id), action)
        except (StoreUnavailableError, ReplayLeaseLostError):
            raise
        except UnknownDeadLetterError as error:
            return ReplayStep(place, letter.request_id, error.detail, moved_on=True)
        except BridgeError as error:
            return ReplayStep(place, letter.request_id, error.detail)
        except Exception as error:  # a bug must not hold up the other letters
            log.exception("replay.letter_bug", dead_letter=letter.id)
            return ReplayStep(place, letter.request_id, f"A bug in the bridge: {type(error).__name__}.")
        return ReplayStep(place, letter.request_id)

    async def _end(self, leased: LeasedReplay, state: ReplayState) -> None:
        await self.queue.end(leased.lease, state)
        log.info("replay.ended", job=leased.job.id, state=state.value)


async def _waited(pace: Pace, stop: asyncio.Event) -> bool:
    """Waits for the next letter. Returns whether the worker is to stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, pace.wait))
    return stop.is_set()


def _check_odoo(wanted: DeadLetterFilter, action: OperatorAction) -> None:
    """Refuses a filter for another Odoo than the operator's. Ignoring it would replay what was not meant."""
    if wanted.odoo and action.odoo and wanted.odoo != action.odoo:
        error = FieldError(field="odoo", sent=wanted.odoo, allowed=action.odoo, message="is not an Odoo of this client")
        raise InvalidMessageError("The body", [error])
