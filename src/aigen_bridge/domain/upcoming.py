"""What comes next for a request, in words and with its time."""

from dataclasses import dataclass
from datetime import datetime

from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.generation import Generation, State
from aigen_bridge.domain.request import FailureCode, ImageRequest, Status
from aigen_bridge.domain.timeline import PendingEntry, PendingWork


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The next step of a request: a sentence for people, and its time. For a callback, that is the deadline.

    `dead_letter` is the one that needs an operator, such as `entry-7`.
    """

    what: str
    at: datetime | None = None
    dead_letter: str | None = None


def upcoming(request: ImageRequest, pending: PendingWork) -> Upcoming:
    """Returns the next step of a request as one sentence, and its time."""
    for entry in pending.entries:  # newest first; a pending one matters more than a dead one
        if not entry.is_dead:
            return _pending_step(entry, request.odoo)
    if request.status is Status.DISPATCHED:
        return _dispatched_step(request, pending)
    for entry in pending.entries:
        waits = request.status is Status.RECEIVED  # `refuse_discarding`
        way_out = "replays it, or cancels the request" if waits else "replays or discards it"
        what = f"Nothing automatic: {entry.step} failed for good ({entry.error_code}). An operator {way_out}."
        return Upcoming(what, dead_letter=f"entry-{entry.id}")
    if request.error_code == FailureCode.MAYBE_PAID and request.is_replayable:
        what = (
            "Nothing automatic: the image may have been paid for. An operator looks for its job at the AI service, "
            "and can send the request again, which may pay again."
        )
        return Upcoming(what)
    if request.is_replayable:
        return Upcoming(f"Nothing automatic: it failed as {request.error_code}. An operator can send it again.")
    return Upcoming("Nothing: Odoo has the outcome." if request.delivered_at else "Nothing: no step is pending.")


def _dispatched_step(request: ImageRequest, pending: PendingWork) -> Upcoming:
    """Returns what happens if N8N falls silent, or at the callback deadline, whichever is first."""
    found, deadline = pending.generation, pending.callback_deadline_at
    expected = _expectation(found.generation) if found else "Waiting for N8N's result."
    if found and found.silent_at and (deadline is None or found.silent_at < deadline or found.is_n8n_out):
        silence = rules.fall_silent(found.generation, request, found.policy).transition
        if silence and found.is_n8n_out:
            until = "resumed" if pending.is_n8n_paused else "back"
            why = "paused" if pending.is_n8n_paused else "away"
            return Upcoming(f"{expected} N8N is {why}, and its silence does not count until it is {until}.")
        if silence:
            effect = "is sent to N8N again" if silence.after is Status.QUEUED else "fails as maybe_paid"
            return Upcoming(f"{expected} Without a word until then, the request {effect}.", at=found.silent_at)
    if pending.is_n8n_paused:
        return Upcoming(f"{expected} N8N is paused, and the deadline stands still until it is resumed.")
    late = "Without a result, the request fails as timed_out at the deadline. A late result is still accepted."
    return Upcoming(f"{expected} {late}", at=deadline)


def _expectation(generation: Generation) -> str:
    """Returns what N8N is expected to do, as one sentence."""
    if generation.is_suspended:
        return "The request is not sent to N8N again, because an image was refused."
    if generation.job:
        return f"N8N polls job {generation.job.job_id} at {generation.job.provider}."
    return {
        State.GRANTED: f"N8N execution {generation.execution_id} may submit one job to the AI service, and names it.",
        State.DOUBTFUL: "The image may have been paid for, and no job is known.",
    }.get(generation.state, "Waiting for N8N's result.")


def _pending_step(entry: PendingEntry, odoo: str) -> Upcoming:
    number = entry.attempts + 1
    if entry.is_leased:
        return Upcoming(
            f"Attempt {entry.attempts} to {entry.step} is in progress. If its worker dies, another takes over.",
            at=entry.due_at,
        )
    if entry.destination_is_paused:
        return Upcoming(f"The {entry.step} waits because operators have paused its destination, until they resume it.")
    if entry.destination_is_away:
        return Upcoming(
            f"The {entry.step} is held because its destination is away. The bridge retries until it is back.",
            at=entry.probe_at,
        )
    if entry.odoo_is_unknown:
        return Upcoming(f"The {entry.step} waits until Odoo {odoo} is in the settings again (AIGEN_ODOOS).")
    return Upcoming(f"Attempt {number} to {entry.step}.", at=entry.due_at)
