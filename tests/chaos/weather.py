"""Random faults inside the simulators and on the wire, drawn anew every few seconds of a run."""

from dataclasses import dataclass
from random import Random
from typing import Any

RawFault = dict[str, Any]
"""A fault in the format of `POST /_sim/faults`."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Probabilities, from 0 to 1, of the load balancer's faults with N8N's callbacks."""

    both: float = 0
    """Send the callback to two API processes at the same time, as an impatient sender does."""
    answer_lost: float = 0
    """Forward the callback, then cut N8N's connection."""
    held: float = 0
    """Delay the callback, so that later ones overtake it."""
    held_seconds: float = 0


CALM = Wire()


@dataclass(frozen=True, slots=True)
class Weather:
    """The faults from `at` seconds on, until the next weather."""

    at: float
    n8n: tuple[RawFault, ...]
    odoo: tuple[RawFault, ...]
    wire: Wire


def draw_weather(random: Random, *, at: float) -> Weather:
    """Draws random weather that is never so bad that nothing succeeds."""
    wire = Wire(
        both=_chance(random, 0.15, 0.35),
        answer_lost=_chance(random, 0, 0.08),
        held=_chance(random, 0, 0.1),
        held_seconds=round(random.uniform(0.1, 2), 2),
    )
    return Weather(at=at, n8n=_n8n(random), odoo=_odoo(random), wire=wire)


def _n8n(random: Random) -> tuple[RawFault, ...]:
    """Draws N8N's faults. A third of the executions end with an error of the AI service."""
    return (
        *_common(random, "webhook"),
        _fault(random, "webhook", "callback_first", 0.05, 0.15),
        _fault(random, "webhook", "status", 0, 0.03, status=429, retry_after=1),
        _fault(random, "webhook", "page", 0.01, 0.04, status=random.choice([200, 502, 503])),
        *_common(random, "image"),
        _fault(random, "callback", "duplicate", 0.05, 0.15, delay=random.uniform(0, 1)),
        _fault(random, "callback", "delay", 0.05, 0.2, delay=random.uniform(0.1, 2)),
        _fault(random, "callback", "ai_error", 0.5, 0.5, name="content_policy", detail="The prompt was flagged."),
    )


def _odoo(random: Random) -> tuple[RawFault, ...]:
    conflict = "psycopg2.errors.SerializationFailure"
    return (
        *_common(random, "jsonrpc"),
        _fault(random, "jsonrpc", "odoo_error", 0, 0.05, name=conflict, detail="could not serialize access"),
    )


def _common(random: Random, route: str) -> tuple[RawFault, ...]:
    return (
        _fault(random, route, "status", 0.02, 0.06, status=random.choice([500, 502, 503])),
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
