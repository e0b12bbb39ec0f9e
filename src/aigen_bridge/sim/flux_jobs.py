"""The AI service's jobs: which were accepted, how far they are, how they ended, and which are billed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from aigen_bridge.sim.flux_contract import CANCELLED, Ending
from aigen_bridge.sim.simulator import Clock

Generation = Callable[[], Awaitable[Ending]]


class Stage(StrEnum):
    """Where a job is. Nothing leaves COMPLETED."""

    IN_QUEUE = "IN_QUEUE"
    """Waiting for a free runner. A job that is cancelled now is never billed."""
    IN_PROGRESS = "IN_PROGRESS"
    """Running. It is billed, also when it is cancelled now, unless the infrastructure fails."""
    COMPLETED = "COMPLETED"
    """Ended with an image, an error or a cancellation."""


@dataclass(kw_only=True)
class Job:
    """One accepted submission or synchronous call. Times are by the simulator's clock."""

    id: str
    correlation_id: str | None
    """The submission's header `X-Correlation-ID`."""
    queued: bool
    """False for a synchronous call, which starts at once."""
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    ending: Ending | None = None

    @property
    def stage(self) -> Stage:
        """The current stage."""
        if self.ending is not None:
            return Stage.COMPLETED
        return Stage.IN_QUEUE if self.started_at is None else Stage.IN_PROGRESS

    @property
    def billed(self) -> bool:
        """Whether the job is paid for: it has started, and its ending (if it has one) is not free of charge."""
        return self.started_at is not None and (self.ending is None or self.ending.billed)

    def as_json(self) -> dict[str, Any]:
        """Returns the job without its output."""
        fields = {name: value for name, value in asdict(self).items() if name != "ending"}
        ending = {"status": self.ending.status, "error_type": self.ending.error_type} if self.ending else None
        return {**fields, "stage": self.stage, "billed": self.billed, "ending": ending}


class Jobs:
    """Every job since the start, oldest first; it is never cleared. Supports iteration, waiting and holding."""

    def __init__(self, clock: Clock, *, runners: int, queue_seconds: float) -> None:
        self._clock = clock
        self._queue_seconds = queue_seconds
        self._runners = asyncio.Semaphore(runners)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[Ending]] = {}
        self._held: set[Stage] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def of(self, correlation_id: str) -> list[Job]:
        """Returns the jobs of one request."""
        return [job for job in self if job.correlation_id == correlation_id]

    def get(self, name: str) -> Job | None:
        """Returns a queued job; None for an unknown id."""
        job = self._jobs.get(name)
        return job if job is not None and job.queued else None

    def position(self, job: Job) -> int:
        """Returns the number of jobs that wait in the queue before this one."""
        waiting = [one.id for one in self if one.stage is Stage.IN_QUEUE]
        return waiting.index(job.id)

    def submit(self, correlation_id: str | None, generate: Generation) -> Job:
        """Accepts a job into the queue."""
        job = self._accept(correlation_id, queued=True)
        self._tasks[job.id] = asyncio.create_task(self._wait_and_run(job, generate))
        return job

    async def run(self, correlation_id: str | None, generate: Generation) -> Ending:
        """Runs a synchronous call to its end, also when the caller hangs up meanwhile."""
        return await self._run(self._accept(correlation_id, queued=False), generate)

    def cancel(self, job: Job) -> None:
        """Ends a queued job that has not ended yet."""
        self._tasks[job.id].cancel()
        self._end(job, CANCELLED)

    def hold(self, stage: Stage) -> None:
        """Keeps every job that is or arrives in `stage` (IN_QUEUE or IN_PROGRESS) there. It can still be cancelled."""
        self._held.add(stage)

    def release(self, stage: Stage) -> None:
        """Lets the jobs that are held in `stage` move on."""
        self._held.discard(stage)
        self._notify()

    async def reached(
        self, stage: Stage, count: int = 1, *, correlation_id: str | None = None, seconds: float = 10.0
    ) -> list[Job]:
        """Waits until `count` jobs (of one request) are in `stage`, and returns them.

        Raises TimeoutError after `seconds`.
        """
        async with asyncio.timeout(seconds):
            while len(found := [job for job in self._of(correlation_id) if job.stage is stage]) < count:
                await self._changed.wait()
        return found

    async def close(self) -> None:
        """Stops every job and waits until all have stopped."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def as_json(self, correlation_id: str | None = None) -> list[dict[str, Any]]:
        """Returns the jobs (of one request) as JSON objects."""
        return [job.as_json() for job in self._of(correlation_id)]

    def _of(self, correlation_id: str | None) -> list[Job]:
        return list(self) if correlation_id is None else self.of(correlation_id)

    def _accept(self, correlation_id: str | None, *, queued: bool) -> Job:
        job = Job(id=str(uuid4()), correlation_id=correlation_id, queued=queued, submitted_at=self._clock())
        self._jobs[job.id] = job
        self._notify()
        return job

    async def _wait_and_run(self, job: Job, generate: Generation) -> Ending:
        await asyncio.sleep(self._queue_seconds)
        async with self._runners:
            await self._while_held(Stage.IN_QUEUE)
            return await self._run(job, generate)

    async def _run(self, job: Job, generate: Generation) -> Ending:
        job.started_at = self._clock()
        self._notify()
        ending = await generate()
        await self._while_held(Stage.IN_PROGRESS)
        self._end(job, ending)
        return ending

    def _end(self, job: Job, ending: Ending) -> None:
        job.ended_at, job.ending = self._clock(), ending
        self._notify()

    async def _while_held(self, stage: Stage) -> None:
        while stage in self._held:
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
