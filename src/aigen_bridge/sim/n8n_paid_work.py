"""The paid work of an execution, from the question whether it may start to the image, in three versions.

- The generation protocol: ask, submit, name the job, poll it, fetch the image. Nothing is submitted without a grant.
- The same workflow with an older bridge: ask whether the image is wanted, then submit and poll without telling.
- The workflow of the version before: ask whether the image is wanted, then call synchronously.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any
from uuid import uuid4

from aigen_bridge.sim.n8n_ai import STAGES, AiService, DownloadError, GenerationError, Job, JobStatus, Made
from aigen_bridge.sim.n8n_bridge import BridgeClient
from aigen_bridge.sim.n8n_generation import Decision, GenerationClient, OlderBridgeError, Reply, SilentEndError
from aigen_bridge.sim.n8n_model import model_of
from aigen_bridge.sim.n8n_nodes import Node, once_sent
from aigen_bridge.sim.n8n_order import Order, Start
from aigen_bridge.sim.n8n_pictures import Picture, PictureMaker
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.simulator import Clock

SYNC_QUIET = 430
"""Seconds beside the call's timeout for which a synchronous execution may be silent: its grant, the download, and the
callback's tries."""


@dataclass(frozen=True)
class Work:
    """The work of one execution. `reach` is called at each node."""

    order: Order
    start: Start
    reach: Callable[[Node], Awaitable[None]]

    def sent(self, node: Node) -> dict[str, Any]:
        """Returns the extensions of an HTTP call that reaches `node` once it is sent."""
        return once_sent(lambda reached, _request_id: self.reach(reached), node, self.order.request_id)


@dataclass(frozen=True)
class Grant:
    """The permission to submit one job until `until`, or the job to go on with. `key` is that of the question."""

    key: str
    until: float
    job: Job | None


class Told:
    """The progress that the bridge was told last. It is told again when it has changed, and every `repeat` seconds."""

    def __init__(self, repeat: float) -> None:
        self._repeat = repeat
        self._status: JobStatus | None = None
        self._at = -math.inf

    def is_due(self, status: JobStatus | None, now: float) -> bool:
        """Returns whether to report at `now`. `status` is None when the AI service gave no news."""
        return now - self._at >= self._repeat or (status is not None and status != self._status)

    def record(self, status: JobStatus, at: float) -> None:
        """Records what was reported and when."""
        self._status, self._at = status, at


class UnbilledError(Exception):
    """The submission was refused, or the job ended unbilled: `about` is what the next question says about it."""

    def __init__(self, verdict: GenerationError, about: Mapping[str, Any]) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict
        self.about = about


class PaidWork:
    """Makes the image of an order, at most one job at a time, as the bridge decides."""

    def __init__(
        self,
        settings: N8nSettings,
        wanted: BridgeClient,
        bridge: GenerationClient,
        ai: AiService,
        pictures: PictureMaker,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._wanted = wanted
        self._bridge = bridge
        self._ai = ai
        self._pictures = pictures
        self._clock = clock

    async def picture(self, work: Work) -> Picture:
        """Returns the image.

        Raises `GenerationError` for the AI service's verdict, `SilentEndError`, or `StoppedError`.
        """
        if not self._settings.speaks:
            return await self._untold(work, queued=False)
        try:
            return await self._with_retries(work)
        except OlderBridgeError:
            return await self._untold(work, queued=self._is_queued(work.order))

    def _is_queued(self, order: Order) -> bool:
        return self._settings.flux_url is not None and model_of(order, self._settings).is_queued

    async def _with_retries(self, work: Work) -> Picture:
        """Asks again after each submission or job that cost nothing, until no retry is left."""
        about: Mapping[str, Any] = {}
        verdict = None
        for wait in (*self._settings.ai_waits, None):
            try:
                return await self._once(work, about, verdict)
            except UnbilledError as error:
                about, verdict = error.about, error.verdict
                if wait is None:
                    raise verdict from error
                await asyncio.sleep(wait)
        raise AssertionError  # the last round returns or raises

    async def _once(self, work: Work, about: Mapping[str, Any], verdict: GenerationError | None) -> Picture:
        grant = await self._granted(work, about, verdict)
        if grant.job:
            return await self._follow(work, grant.job, is_named=True, is_resumed=True)
        try:
            if not self._is_queued(work.order):
                return await self._generate(work)
            job = await self._ai.submit(work.order, work.start.trace, work.sent(Node.WHILE_SUBMITTING))
        except GenerationError as error:
            if not error.sure:
                raise SilentEndError("the submission may have been taken") from error
            raise UnbilledError(error, {"noJob": True}) if error.transient else error from error
        return await self._follow(work, job, is_named=await self._name(work, job))

    async def _granted(self, work: Work, about: Mapping[str, Any], verdict: GenerationError | None) -> Grant:
        """Asks until there is a job to go on with, or a grant that is young enough to submit one."""
        key = uuid4().hex
        while True:
            grant = await self._ask(work, key, about, verdict)
            await work.reach(Node.AFTER_ASK)
            if grant.job or self._clock() < grant.until:
                return grant
            key = grant.key

    async def _ask(self, work: Work, key: str, about: Mapping[str, Any], verdict: GenerationError | None) -> Grant:
        """Asks until the bridge says start or resume. The same key is the same question, until it is answered."""
        now = asyncio.get_running_loop().time
        silent_until, waits_until = now() + self._settings.ask_for, now() + self._settings.wait_for
        quiet = {} if self._is_queued(work.order) else {"quietFor": self._settings.ai_timeout + SYNC_QUIET}
        while now() < min(silent_until, waits_until):
            await work.reach(Node.BEFORE_ASK)
            asked_at = self._clock()
            answer = await self._bridge.ask(work.order, work.start, key, {**quiet, **about})
            if answer is None:
                await asyncio.sleep(self._settings.ask_wait)
            elif answer.decision is Decision.STOP:
                raise verdict if verdict and answer.is_open else SilentEndError("the bridge said stop")
            elif answer.decision is Decision.WAIT:
                key, about = uuid4().hex, {}
                await asyncio.sleep(self._settings.ask_wait if answer.retry_after is None else answer.retry_after)
                silent_until = now() + self._settings.ask_for
            else:
                return Grant(key, asked_at + answer.valid_for, answer.job)
        raise SilentEndError("the bridge gave no grant")

    async def _name(self, work: Work, job: Job) -> bool:
        """Names the job. Returns whether the bridge knows it now; if not, each poll tries it again."""
        await work.reach(Node.BEFORE_JOB)
        reply = await self._bridge.name(work.order, work.start, job)
        await work.reach(Node.AFTER_JOB)
        await self._end_unless_wanted(work, reply, job)
        return reply is Reply.WANTED

    async def _follow(
        self, work: Work, job: Job, *, is_named: bool, is_resumed: bool = False, is_told: bool = True
    ) -> Picture:
        """Polls a job to its end and fetches its image. `is_told`: the bridge knows the protocol."""
        if not all(self._ai.is_ours(work.order, url) for url in (job.status_url, job.response_url)):
            raise GenerationError("job_out_of_reach", f"The job {job.job_id} has no addresses at this AI service")
        try:
            output = await self._output(work, job, is_named=is_named, is_resumed=is_resumed, is_told=is_told)
        except GenerationError as error:
            error.made = Made(model_of(work.order, self._settings).name, job)
            if error.transient and is_told:
                unnamed = {} if is_named else {"noJob": True}  # the bridge may or may not have heard the name
                raise UnbilledError(error, {"endedJob": job.job_id, **unnamed}) from error
            raise
        try:
            return await self._pictures.fetch(work.order, output, job)
        except DownloadError as error:
            if error.may_pass and is_told:
                raise SilentEndError("the image could not be fetched for now") from error
            raise

    async def _output(self, work: Work, job: Job, *, is_named: bool, is_resumed: bool, is_told: bool) -> dict[str, Any]:
        """Polls a job until it has an output. Tells the bridge its name until it is known, then the progress."""
        now = asyncio.get_running_loop().time
        silent_until, named_until = now() + self._settings.poll_for, now() + self._settings.name_for
        last, told = JobStatus(STAGES["IN_QUEUE"]), Told(self._settings.repeat_progress)
        for wait in chain(self._settings.poll_waits, repeat(self._settings.poll_waits[-1])):
            await asyncio.sleep(wait)
            await work.reach(Node.WHILE_POLLING)
            status = await self._status(job, is_resumed=is_resumed)
            last = status or JobStatus(last.stage)
            if is_told and not is_named:
                is_named = await self._name(work, job)
            elif is_told and told.is_due(status, now()):
                await self._report(work, job, last, told)
            is_due = status is not None and status.is_completed and (is_named or now() >= named_until)
            output = await self._result(work, job, last) if is_due else None
            if output is not None:
                return output
            if status and not status.is_completed:
                silent_until = now() + self._settings.poll_for
            elif now() >= silent_until and not is_told:
                raise GenerationError("ai_unreachable", "There is no news of the job at the AI service")
            elif now() >= silent_until:
                raise SilentEndError("the AI service does not answer")
        raise AssertionError  # the waits never end

    async def _status(self, job: Job, *, is_resumed: bool) -> JobStatus | None:
        """Returns how far a job is. Only a job that is resumed may have expired; a new one may not be known yet."""
        try:
            return await self._ai.status(job)
        except GenerationError:
            if is_resumed:
                raise
            return None

    async def _result(self, work: Work, job: Job, status: JobStatus) -> dict[str, Any] | None:
        await work.reach(Node.BEFORE_FETCHING)
        return await self._ai.output(job, has_failed=status.has_failed)

    async def _report(self, work: Work, job: Job, status: JobStatus, told: Told) -> None:
        """Reports the progress of a named job. What the bridge did not answer to is not told."""
        reply = await self._bridge.report(work.order, work.start, status)
        await self._end_unless_wanted(work, reply, job)
        if reply is not Reply.NONE:
            told.record(status, asyncio.get_running_loop().time())

    async def _end_unless_wanted(self, work: Work, reply: Reply, job: Job) -> None:
        """Cancels a job that nobody wants, and ends."""
        if reply in {Reply.UNWANTED, Reply.OTHER_JOB}:
            await self._ai.cancel(work.order, job)
            raise SilentEndError(f"the job {job.job_id} was cancelled: {reply}")

    async def _generate(self, work: Work) -> Picture:
        """Makes the image without a queue."""
        if self._settings.flux_url is None:
            await work.reach(Node.WHILE_SUBMITTING)
            return await self._pictures.draw(work.order, work.start.base_url)
        sent = work.sent(Node.WHILE_SUBMITTING)
        output = await self._ai.generate(work.order, work.start.trace, sent)
        await work.reach(Node.BEFORE_FETCHING)
        return await self._pictures.fetch(work.order, output)

    async def _untold(self, work: Work, *, queued: bool) -> Picture:
        """Works without grants: asks whether the image is wanted, and repeats what failed in passing.

        Only the workflow of the version before repeats a submission that may have been taken.
        """
        if not await self._wanted.wants(work.order, work.start.trace, work.start.execution_id):
            raise SilentEndError("the image is not wanted")
        await work.reach(Node.AFTER_ASK)
        for wait in (*self._settings.ai_waits, None):
            try:
                if not queued:
                    return await self._generate(work)
                job = await self._ai.submit(work.order, work.start.trace, work.sent(Node.WHILE_SUBMITTING))
                return await self._follow(work, job, is_named=True, is_told=False)
            except GenerationError as error:
                is_unsure = self._settings.speaks and not error.sure
                if wait is None or is_unsure or not error.transient:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError  # the last round returns or raises
