"""Prints one request: its state, history and next step, and commands for more."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from rich.console import Console
from rich.text import Text

from aigen_bridge.cli.terminal import say_table
from aigen_bridge.contracts.resources import (
    AttemptMade,
    GenerationChange,
    GenerationState,
    NextStep,
    ProgressState,
    RequestResource,
    StateChange,
    Timeline,
)
from aigen_bridge.doctor.finding import spoken
from aigen_bridge.domain.errors import UnknownRequestError
from aigen_bridge.domain.request import DEFAULT_ODOO
from aigen_bridge.quoting import one_line

if TYPE_CHECKING:
    from aigen_bridge.wiring import ApiParts

STATUS_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow"}
OUTCOME_COLOURS = {"done": "green", "retry": "yellow", "held": "yellow", "lost": "magenta", "dead": "red"}


async def show_story(parts: "ApiParts", request_id: UUID) -> None:
    """Prints a request and its history. Raises `UnknownRequestError`."""
    from aigen_bridge.contracts.views import resource, timeline

    found = await parts.requests.get(request_id)
    if found is None:
        raise UnknownRequestError(request_id)
    holds, generations = await parts.destinations.held([request_id]), await parts.generations.find([request_id])
    entries, pending = await parts.timelines.read(request_id), await parts.timelines.pending_work(request_id)
    shown = resource(found, holds.get(request_id), generations.get(request_id))
    _print_request(shown, timeline(found, entries, pending), parts.settings.public_url)


def _print_request(request: RequestResource, timeline: Timeline, url: str) -> None:
    _print_state(request)
    _print_line("next", _next_step(timeline.next))
    _print_history(request, timeline)
    if timeline.attempts_purged_at:
        _print(f"  Attempts before {timeline.attempts_purged_at.isoformat()} have been deleted.")
    _print_commands(request, url)


def status_text(status: str) -> Text:
    """Returns a status in its colour."""
    return Text(status, f"bold {STATUS_COLOURS.get(status, 'cyan')}")


def ago(at: datetime) -> str:
    """Formats a time relative to now: `3 min ago`, `in 20.0 s`."""
    age = datetime.now(UTC) - at
    return f"{spoken(age)} ago" if age >= timedelta(0) else f"in {spoken(age)}"


def _print_state(request: RequestResource) -> None:
    _print(f"Request {request.request_id}: ", status_text(request.status), f", version {request.version}")
    _print_line("created", f"{_at(request.created_at)} ({ago(request.created_at)}), {request.resolution}")
    _print_line("correlation", str(request.correlation_id))
    if request.error_message:
        _print_line("error", Text(one_line(request.error_code or "-"), "red"), f": {request.error_message}")
    if image := request.image:
        _print_line("image", f"{image.format}, {image.width}x{image.height}, {image.size} bytes")
    if provenance := request.provenance:
        _print_line("marked", f"{provenance.added}; came with {provenance.came_with}")
    if generation := request.generation:
        _print_generation(generation)
    if cost := request.cost:
        _print_line("cost", f"{cost.amount} {cost.currency} ({cost.basis})")
    elif price := request.estimated_cost:
        _print_line("price", f"{price.amount} {price.currency}")
    if progress := request.progress:
        _print_line("progress", _progress(progress))
    _print_line("took", _durations(request))
    delivered = f"delivered at {_at(request.delivered_at)}" if request.delivered_at else "not delivered yet"
    _print_line("Odoo", delivered if request.odoo == DEFAULT_ODOO else f"{request.odoo}, {delivered}")


def _print_generation(generation: GenerationState) -> None:
    if generation.job_id:
        _print_line("job", " ".join(filter(None, (generation.job_id, "at", generation.provider, generation.model))))
    facts = {
        "seed": generation.seed,
        "inference": f"{generation.seconds:g} s" if generation.seconds is not None else None,
        "negative": f"prompt {generation.negative_prompt}" if generation.negative_prompt else None,
        "flagged": "as not safe for work" if any(generation.has_nsfw_concepts or ()) else None,
        "resends": generation.resent or None,
    }
    parts = [f"{name} {value}" for name, value in facts.items() if value is not None]
    if parts:
        _print_line("generation", ", ".join(parts))


def _progress(progress: ProgressState) -> str:
    position = f"position {progress.queue_position}" if progress.queue_position is not None else None
    percent = f"{progress.percent:g} %" if progress.percent is not None else None
    reported = ago(progress.reported_at) if progress.reported_at else None
    return ", ".join(part for part in (progress.stage, position, percent, progress.message, reported) if part)


def _print_line(name: str, *parts: str | Text) -> None:
    _print(f"  {name:<13}", *parts)


def _print(*parts: str | Text) -> None:
    """Prints one line for copying: the terminal wraps it, and nothing in it is markup."""
    line = Text.assemble(*(part if isinstance(part, Text) else one_line(part) for part in parts))
    Console(highlight=False).print(line, soft_wrap=True)


def _at(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _durations(request: RequestResource) -> str:
    """Formats the duration so far: the total, and each finished part."""
    times = (request.created_at, request.dispatched_at, request.completed_at, request.delivered_at)
    parts = [
        f"{spoken(until - since)} {label}"
        for since, until, label in zip(times, times[1:], ("to N8N", "at N8N", "to Odoo"), strict=False)
        if since and until
    ]
    total = spoken(max(at for at in times if at) - request.created_at)
    return f"{total}: {', '.join(parts)}" if parts else "not dispatched yet"


def _next_step(step: NextStep) -> str:
    at = f" ({_at(step.at)}, {ago(step.at)})" if step.at else ""
    letter = f" aigen-bridge dead-letters show {step.dead_letter}" if step.dead_letter else ""
    return f"{step.what}{at}{letter}"


def _print_history(request: RequestResource, timeline: Timeline) -> None:
    history = sorted([*timeline.generation, *timeline.entries], key=lambda entry: entry.at)
    rows = [_history_row(entry, (entry.at - request.created_at).total_seconds()) for entry in history]
    say_table(("after", "what", "took", "status", "detail"), rows, least=16)


def _history_row(entry: StateChange | AttemptMade | GenerationChange, seconds: float) -> tuple[str | Text, ...]:
    after = f"{seconds:.3f} s"
    if isinstance(entry, StateChange):
        return after, status_text(entry.status), "", "", entry.note or ""
    if isinstance(entry, GenerationChange):
        return after, Text(f"generation {entry.state}", "cyan"), "", "", entry.note
    what = Text.assemble(f"{entry.step} #{entry.number} ", (entry.outcome, OUTCOME_COLOURS[entry.outcome]))
    reason = ": ".join(text for text in (entry.error_code, entry.detail) if text)
    return after, what, f"{entry.duration_ms:.0f} ms", str(entry.http_status or ""), reason


def _print_commands(request: RequestResource, url: str) -> None:
    from aigen_bridge.contracts.views import commands

    for line in [*commands(request, url), f"documentation: {url}/docs"]:
        _print(line)
