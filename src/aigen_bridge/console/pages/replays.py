"""Background replays: those there are, one with its progress, and the start of another after a look at its letters."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.errors import WrongFormError
from aigen_bridge.console.form import Form
from aigen_bridge.console.letter_filter import read_filter
from aigen_bridge.console.notices import done
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn
from aigen_bridge.domain.dead_letter import DEAD_LETTER_KINDS
from aigen_bridge.domain.errors import UnknownReplayError
from aigen_bridge.domain.replay_job import ReplayJob

PATH = "/console/replays"
LISTED = 100
RATE, RATE_MIN, RATE_MAX = 10, 0.01, 1000
TONES = {"running": "busy", "stopping": "warn", "stopped": "calm", "finished": "good"}

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

Number = Annotated[str, Path(alias="number", max_length=50)]


@router.get(PATH)
async def list_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists the background replays, newest first."""
    jobs = await parts.replay_queue.page(LISTED, visitor.odoo)
    return render(request, "replays.html", jobs=jobs, tones=TONES)


@router.get(f"{PATH}/new")
async def new_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Shows what a background replay with this filter would replay, before it begins."""
    asked = read_filter(lambda name: request.query_params.get(name, ""), visitor.odoo)
    preview = None if asked.problems else await parts.replay_jobs.preview(asked.wanted, visitor.action())
    return render(
        request,
        "replay_new.html",
        asked=asked,
        problems=asked.problems,
        preview=preview,
        kinds=DEAD_LETTER_KINDS,
        odoos=list(parts.settings.all_odoos),
        rate=RATE,
    )


@router.post(PATH)
async def begin(visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Begins a background replay."""
    asked = read_filter(form.text, visitor.odoo)
    if asked.problems:
        raise WrongFormError(" ".join(asked.problems))
    job = await parts.replay_jobs.begin(asked.wanted, visitor.action(form.reason()), _rate(form))
    letters = "1 dead letter" if job.matched == 1 else f"{job.matched} dead letters"
    return done(f"{PATH}/{job.id}", f"The replay of {letters} has begun.")


@router.get(f"{PATH}/{{number}}")
async def replay_page(request: Request, number: Number, visitor: SignedIn, parts: Parts) -> Response:
    """Shows how far a background replay is, and what it did not replay."""
    job = await parts.replay_queue.get(_number(number), visitor.odoo)
    failures = await parts.replay_queue.failures(job.id)
    return render(request, "replay.html", job=job, failures=failures, tones=TONES, expected=_expected(job))


@router.post(f"{PATH}/{{number}}/stop")
async def stop(number: Number, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Stops a background replay."""
    job = await parts.replay_jobs.stop(_number(number), visitor.action(form.reason()))
    words = {"finished": "had finished before", "stopped": "is stopped"}.get(
        job.state, "stops after its current letter"
    )
    return done(f"{PATH}/{job.id}", f"Replay {job.id} {words}.")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(2**63))):
        raise UnknownReplayError(repr(text))
    return int(text)


def _rate(form: Form) -> float:
    text = form.text("rate")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not RATE_MIN <= rate <= RATE_MAX:  # neither is NaN
        raise WrongFormError(f"The rate {text[:20]!r} is no number from {RATE_MIN} to {RATE_MAX}.")
    return rate


def _expected(job: ReplayJob) -> float | None:
    """Returns the seconds that the rest takes at least, while it runs."""
    return job.left / job.max_per_second if job.state == "running" else None
