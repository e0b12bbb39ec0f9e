"""The time from pressing *Generate* to the picture on the page, hop by hop."""

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chain.people import Asked, Crew

HOPS = (
    "pressed → committed in Odoo",
    "committed → accepted by the bridge",
    "accepted → dispatched to N8N",
    "dispatched → N8N asked the bridge",
    "N8N asked → job at the AI service",
    "job → generated",
    "generated → stored by the bridge",
    "stored → delivered to Odoo",
    "delivered → shown to the person",
    "pressed → shown",
)
MEASURED: list[list[float]] = []
"""Seconds of each hop, for each measured picture."""
NOTES: list[str] = []
"""Other figures of the run."""


def measure(crew: "Crew", asked: "Asked", shown_at: float) -> None:
    """Records the hops of a picture."""
    row, commits = crew.in_bridge(asked), crew.commits(asked)
    [job] = crew.ground.ai.jobs_of(asked.correlation_id)
    assert job.ended_at is not None
    moments = (
        asked.pressed_at,
        commits["waiting"],
        row["created_at"].timestamp(),
        row["dispatched_at"].timestamp(),
        crew.asked_at(asked),
        job.submitted_at,
        job.ended_at,
        row["completed_at"].timestamp(),
        commits["completed"],
        shown_at,
    )
    MEASURED.append([later - earlier for earlier, later in pairwise(moments)] + [shown_at - asked.pressed_at])


def note(line: str) -> None:
    """Adds a line to the report."""
    NOTES.append(line)


def report() -> list[str]:
    """Returns the lines of the table: median and worst of each hop, in seconds."""
    if not MEASURED:
        return NOTES
    lines = [f"{len(MEASURED)} pictures"]
    for name, column in zip(HOPS, zip(*MEASURED, strict=True), strict=True):
        lines.append(f"  {name:<38} median {median(column):6.2f} s   worst {max(column):6.2f} s")
    return lines + NOTES
