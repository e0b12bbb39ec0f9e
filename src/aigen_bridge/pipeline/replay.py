"""Replays and discards dead letters, and completes requests by hand, for operators."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NoReturn, Protocol
from uuid import UUID

from aigen_bridge.contracts.envelope import Envelope, reopen
from aigen_bridge.contracts.messages import Callback, parse_callback, parse_report
from aigen_bridge.domain.callback import Completed, Take, judge
from aigen_bridge.domain.dead_letter import (
    EXECUTION_FAILED,
    N8N_REPORT,
    UNDELIVERED,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterName,
    EarlierAction,
    Handled,
    OperatorAction,
    QuarantinedCallback,
)
from aigen_bridge.domain.errors import (
    BridgeError,
    ContradictionError,
    NothingToReplayError,
    StoreUnavailableError,
    UnknownDeadLetterError,
    UnknownRequestError,
)
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import ImageRequest, Transition, VersionedTransition
from aigen_bridge.pipeline import callback
from aigen_bridge.pipeline.callback import Examination, take_callback
from aigen_bridge.pipeline.cancel import cancellation, outcome

BULK_MAX = 1000
"""The most dead letters in one bulk replay. Its result shows whether there are more."""

DELAY_MAX = timedelta(days=30)
"""The longest delay of a dead letter in a bulk replay, however low the rate."""


class Operations(Protocol):
    """The actions on dead letters and requests."""

    async def replay_entry(self, number: int, action: OperatorAction, *, delay: timedelta) -> Handled | None: ...

    async def discard_entry(self, number: int, action: OperatorAction) -> Handled | None: ...

    async def send_again(
        self, number: int, request_id: UUID, action: OperatorAction, *, delay: timedelta
    ) -> ImageRequest | None: ...

    async def replay_request(self, request_id: UUID, action: OperatorAction) -> ImageRequest: ...

    async def close_callback(self, number: int, state: str, action: OperatorAction) -> bool: ...

    async def complete(self, transition: VersionedTransition, image: CheckedImage, action: OperatorAction) -> bool: ...

    async def cancel(self, transition: Transition, action: OperatorAction) -> bool: ...


class Quarantine(Protocol):
    """The callbacks in quarantine."""

    async def get(self, number: int) -> QuarantinedCallback | None: ...


class DeadLetters(Protocol):
    """The list of dead letters."""

    async def get(self, name: str, odoo: str | None = None) -> DeadLetter | None: ...

    async def page(self, wanted: DeadLetterFilter, limit: int) -> list[DeadLetter]: ...

    async def handled(self, name: DeadLetterName, odoo: str | None = None) -> EarlierAction | None: ...


@dataclass(slots=True)
class BulkResult:
    """The result for several dead letters: their number, the names that are done, and the reason for each that failed.

    `more`: the filter matches others, too.
    """

    matched: int
    more: bool = False
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replays:
    """The operator actions on dead letters. `requests` and `examine` handle a replayed callback like a new one.

    For an operator of one Odoo, dead letters and requests of others are unknown, and nothing is written. `reports_on`
    returns the Odoo of a client that has one: what it reported about a request of another Odoo is not applied either.
    """

    operations: Operations
    quarantine: Quarantine
    dead_letters: DeadLetters
    requests: callback.Store
    examine: Examination
    reports_on: Callable[[str], str | None] = lambda _: None

    async def replay(self, name: DeadLetterName, action: OperatorAction, *, delay: timedelta = timedelta(0)) -> Handled:
        """Replays a dead letter: an entry is due after `delay`, a callback is handled like a new one.

        Raises `UnknownDeadLetterError` if it is not open, and what `take_callback` raises. In both cases, the dead
        letter does not change.
        """
        await self._check_letter(name, action)
        return await self._replay(name, action, delay)

    async def _replay(self, name: DeadLetterName, action: OperatorAction, delay: timedelta) -> Handled:
        if name.kind == "entry":
            handled = await self.operations.replay_entry(name.number, action, delay=delay)
            return handled or await self._not_open(name, action)
        kept = await self._open_callback(name, action)
        if (kept.version, kept.error_code) == (N8N_REPORT, EXECUTION_FAILED):
            return await self._send_again(name, kept, action, delay)
        odoo = action.odoo or self.reports_on(kept.client)
        receipt = await take_callback(self.requests, self.examine, _read(name, kept), odoo=odoo)
        await self.operations.close_callback(name.number, "replayed", action)
        return Handled(receipt.request_id, receipt.status)

    async def replay_request(self, request_id: UUID, action: OperatorAction) -> ImageRequest:
        """Sends a request again that failed for a reason of the bridge, dead letter or not. Returns the request.

        A result that Odoo did not take is delivered again. Raises `UnknownRequestError` and `NotReplayableError`.
        """
        await self._check_request(request_id, action)
        return await self.operations.replay_request(request_id, action)

    async def replay_all(
        self, wanted: DeadLetterFilter, action: OperatorAction, *, per_second: float, dry_run: bool = False
    ) -> BulkResult:
        """Replays the dead letters that match, at most `BULK_MAX`, oldest first.

        They become due at a rate of at most `per_second`. `dry_run` lists them and changes nothing.
        """
        found = await self.dead_letters.page(action.limited(wanted), BULK_MAX + 1)
        letters = found[:BULK_MAX][::-1]
        result = BulkResult(len(letters), more=len(found) > BULK_MAX)
        if dry_run:
            result.done = [letter.id for letter in letters]
            return result

        def replay(name: DeadLetterName) -> Awaitable[Handled]:
            delay = timedelta(seconds=min(len(result.done) / per_second, DELAY_MAX.total_seconds()))
            return self._replay(name, action, delay)

        await _each([letter.id for letter in letters], replay, result)
        return result

    async def replay_each(self, names: Sequence[str], action: OperatorAction) -> BulkResult:
        """Replays these dead letters, in this order."""
        return await _each(names, lambda name: self.replay(name, action), BulkResult(len(names)))

    async def discard_each(self, names: Sequence[str], action: OperatorAction) -> BulkResult:
        """Closes these dead letters for good."""
        return await _each(names, lambda name: self.discard(name, action), BulkResult(len(names)))

    async def discard(self, name: DeadLetterName, action: OperatorAction) -> Handled:
        """Closes a dead letter for good. Raises `UnknownDeadLetterError` if it is not open."""
        await self._check_letter(name, action)
        if name.kind == "entry":
            return await self.operations.discard_entry(name.number, action) or await self._not_open(name, action)
        kept = await self._open_callback(name, action)
        if not await self.operations.close_callback(name.number, "discarded", action):
            await self._not_open(name, action)
        return Handled(kept.request_id)

    async def complete(self, request_id: UUID, image: CheckedImage, action: OperatorAction) -> ImageRequest:
        """Completes a request by hand with this image as if N8N had reported it. Returns the request.

        Raises `UnknownRequestError`, and `ContradictionError` if the request has ended for good.
        """
        await self._check_request(request_id, action)
        for _ in range(callback.ROUNDS):
            request = await self.requests.get_batched(request_id)
            if request is None:
                raise UnknownRequestError(request_id)
            if await self.operations.complete(self._completion(request, image, action), image, action):
                return await self.requests.get_batched(request_id) or request
        raise StoreUnavailableError(f"Request {request_id} is being changed by another call. Retry.")

    def _completion(self, request: ImageRequest, image: CheckedImage, action: OperatorAction) -> VersionedTransition:
        result = Completed(request.request_id, request.correlation_id, image.described, image.provenance)
        verdict = judge(request, result, marks=self.examine.marks)
        if not isinstance(verdict, Take):
            raise ContradictionError("request_ended", f"Request {request.request_id} is already {request.status}.")
        return replace(verdict.transition, note=f"completed by hand by {action.by}")

    async def cancel(self, request_id: UUID, action: OperatorAction) -> ImageRequest:
        """Cancels a request for an operator, which is recorded. Returns the request.

        Raises `UnknownRequestError`, and `ContradictionError` if the request has already ended.
        """
        await self._check_request(request_id, action)
        moved = await self.operations.cancel(cancellation(request_id, action.by), action)
        return await outcome(self.requests, request_id, moved=moved)

    async def _send_again(
        self, name: DeadLetterName, kept: QuarantinedCallback, action: OperatorAction, delay: timedelta
    ) -> Handled:
        """Sends the request of a failed execution to N8N again, if the bridge failed it."""
        if kept.request_id is None or await self.requests.get_batched(kept.request_id) is None:
            raise NothingToReplayError(str(name))
        request = await self.operations.send_again(name.number, kept.request_id, action, delay=delay)
        if request is None:
            await self._not_open(name, action)
        return Handled(request.request_id, request.status)

    async def _check_letter(self, name: DeadLetterName, action: OperatorAction) -> None:
        if action.odoo is not None and await self.dead_letters.get(str(name), action.odoo) is None:
            await self._not_open(name, action)

    async def _not_open(self, name: DeadLetterName, action: OperatorAction) -> NoReturn:
        """Raises `UnknownDeadLetterError`, which says who handled the dead letter, and when."""
        earlier = await self.dead_letters.handled(name, action.odoo)
        raise UnknownDeadLetterError(str(name), str(earlier) if earlier else None)

    async def _check_request(self, request_id: UUID, action: OperatorAction) -> None:
        if action.odoo is not None and await self.requests.get(request_id, action.odoo) is None:
            raise UnknownRequestError(request_id)

    async def _open_callback(self, name: DeadLetterName, action: OperatorAction) -> QuarantinedCallback:
        kept = await self.quarantine.get(name.number)
        if kept is None or kept.state != "open":
            await self._not_open(name, action)
        return kept


async def _each(
    names: Sequence[str], act: Callable[[DeadLetterName], Awaitable[Handled]], result: BulkResult
) -> BulkResult:
    """Acts on each dead letter, whatever became of the others. Raises `StoreUnavailableError`."""
    for name in names:
        try:
            await act(DeadLetterName.parse(name))
        except StoreUnavailableError:
            raise
        except BridgeError as error:
            result.failed[name] = error.detail
        else:
            result.done.append(name)
    return result


def _read(name: DeadLetterName, kept: QuarantinedCallback) -> Callback:
    """Reads a quarantined callback again, as far as its body can be understood. Of several files, its hash decides."""
    envelope = reopen(kept)
    if kept.version == N8N_REPORT:
        envelope = _result(name, kept, envelope)
    return parse_callback(envelope, chosen_by_hash=True)


def _result(name: DeadLetterName, kept: QuarantinedCallback, envelope: Envelope) -> Envelope:
    """Returns the result in N8N's report. Its image counts only if the result needs one."""
    event = envelope.event
    if kept.error_code != UNDELIVERED and event is not None:  # the report was refused: its result is still in it
        event = parse_report(event).result_event
    if event is None:
        raise NothingToReplayError(str(name))
    files = envelope.files if envelope.image is None else (envelope.image,)
    return Envelope(event, files=files)
