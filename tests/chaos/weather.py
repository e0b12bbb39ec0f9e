"""Random faults inside the simulators and on the wire, drawn anew every few seconds of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from aigen_bridge.sim.n8n_nodes import Node

SILENCE = 6
"""Seconds (`AIGEN_GENERATION__SILENCE`); longer than the workflow waits between two polls of a job."""

RawFault = dict[str, Any]
"""A fault in the format of `POST /_sim/faults`."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Probabilities, from 0 to 1, of the load balancer's faults with N8N's calls."""

    both: float = 0
    """Send the call to two API processes at the same time, as an impatient sender does."""
    answer_lost: float = 0
    """Forward the call, then cut N8N's connection."""
    held: float = 0
    """Delay the call, so that later ones overtake it."""
    held_seconds: float = 0


CALM = Wire()
JOB_ROUTES = ("status", "result", "cancel", "image")
"""The AI service's routes for a job that was submitted."""
REFUSED = "content_policy"
"""The error code with which the AI service says no to a prompt."""


@dataclass(frozen=True, slots=True)
class Weather:
    """The faults from `at` seconds on, until the next weather."""

    at: float
    n8n: tuple[RawFault, ...]
    odoo: tuple[RawFault, ...]
    flux: tuple[RawFault, ...]
    wire: Wire


def draw_weather(random: Random, *, at: float, struck: Sequence[Node]) -> Weather:
    """Draws random weather that is never so bad that nothing succeeds.

    N8N is killed at the nodes in `struck`. Without any, there is no time for faults from which a request recovers only
    after minutes.
    """
    wire = Wire(
        both=_chance(random, 0.15, 0.35),
        answer_lost=_chance(random, 0, 0.08),
        held=_chance(random, 0, 0.1),
        held_seconds=round(random.uniform(0.1, 2), 2),
    )
    n8n = (*_blows(random, struck), *_n8n(random))
    return Weather(at=at, n8n=n8n, odoo=_odoo(random), flux=_flux(random, is_slow=bool(struck)), wire=wire)


def _blows(random: Random, struck: Sequence[Node]) -> tuple[RawFault, ...]:
    """Draws when N8N is killed and paused at its nodes: soon after the weather begins."""
    once = {"chance": 0.3, "times": 1}
    kills = [{"kind": "kill", "route": node, **once, "delay": round(random.uniform(0.2, 1), 2)} for node in struck]
    longest = SILENCE + 3 if struck else 3
    pause = {"kind": "pause", "route": random.choice(list(Node)), **once, "delay": round(random.uniform(1, longest), 2)}
    return (*kills, pause)


def _n8n(random: Random) -> tuple[RawFault, ...]:
    """Draws N8N's other faults."""
    return (
        *_common(random, "webhook"),
        _fault(random, "webhook", "callback_first", 0.05, 0.15),
        _fault(random, "webhook", "status", 0, 0.03, status=429, retry_after=1),
        _fault(random, "webhook", "page", 0.01, 0.04, status=random.choice([200, 502, 503])),
        _fault(random, "callback", "duplicate", 0.05, 0.15, delay=random.uniform(0, 1)),
        _fault(random, "callback", "delay", 0.05, 0.2, delay=random.uniform(0.1, 2)),
    )


def _flux(random: Random, *, is_slow: bool) -> tuple[RawFault, ...]:
    """Draws the AI service's faults.

    The last ones lose the answer to a submission that was taken: nobody knows of the job, and the bridge waits for 150
    seconds before it permits another.
    """
    lost = (
        _fault(random, "generate", "drop_after", 0.1, 0.2),
        _fault(random, "generate", "status_after", 0.1, 0.2, status=504),
    )
    return (
        _fault(random, "generate", "status", 0.02, 0.05, status=random.choice([429, 503, 504])),
        _fault(random, "generate", "status", 0.02, 0.05, status=422, name=REFUSED),
        _fault(random, "generate", "fail_job", 0.02, 0.05, status=503),
        _fault(random, "generate", "fail_job", 0.05, 0.1, status=422, name=REFUSED),
        _fault(random, "generate", "slow_job", 0.1, 0.3, delay=random.uniform(2, 8)),
        *(lost if is_slow else ()),
        *(fault for route in JOB_ROUTES for fault in _common(random, route, [500, 502, 503, 504])),
    )


def _odoo(random: Random) -> tuple[RawFault, ...]:
    conflict = "psycopg2.errors.SerializationFailure"
    return (
        *_common(random, "jsonrpc"),
        _fault(random, "jsonrpc", "odoo_error", 0, 0.05, name=conflict, detail="could not serialize access"),
    )


def _common(random: Random, route: str, statuses: Sequence[int] = (500, 502, 503)) -> tuple[RawFault, ...]:
    return (
        _fault(random, route, "status", 0.02, 0.06, status=random.choice(statuses)),
        _fault(random, route, "drop", 0.02, 0.05),
        _fault(random, route, "drop_after", 0.02, 0.06),
        _fault(random, route, "status_after", 0.01, 0.04, status=504),
        _fault(random, route, "delay", 0, 0.08, delay=random.choice([0.1, 0.5, 1, 4])),
    )


def _fault(random: Random, route: str, kind: str, least: float, most: float, **more: Any) -> RawFault:
    rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in more.items()}
    return {"kind": kind, "route": route, "times": None, "chance": _chance(random, least, most), **rounded}


def _chance(random: Random, least: float, most: float) -> float:
    return round(random.uniform(least, most), 3)
