"""Durations of the stages of a request, for the report at the end of `make e2e-n8n`."""

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from aigen_bridge.sim.calls import Call

STAGES = (
    "accepted → acknowledged by N8N",
    "acknowledged → AI service asked",
    "AI service asked → callback sent",
    "callback sent → stored",
    "stored → delivered to Odoo",
    "all",
)
MEASURED: dict[str, list[Sequence[float]]] = defaultdict(list)
"""Seconds of each stage, by test."""


def measure(request: dict[str, Any], asked_ai: Call, callback: Call) -> None:
    """Records the stages of one delivered request."""
    names = ("createdAt", "dispatchedAt", "completedAt", "deliveredAt")
    accepted, dispatched, stored, delivered = (datetime.fromisoformat(request[name]).timestamp() for name in names)
    moments = (accepted, dispatched, asked_ai.at, callback.at, stored, delivered)
    stages = [later - earlier for earlier, later in pairwise(moments)]
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2].partition(" ")[0]
    MEASURED[test].append((*stages, delivered - accepted))


def report() -> list[str]:
    """Returns the lines of the table: median and maximum of each stage, in seconds."""
    lines = []
    for test, rows in MEASURED.items():
        lines.append(f"{test}: {len(rows)} requests")
        for name, column in zip(STAGES, zip(*rows, strict=True), strict=True):
            lines.append(f"  {name:<34} median {median(column):6.2f} s   longest {max(column):6.2f} s")
    return lines
