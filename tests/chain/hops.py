"""The time from pressing *Generate* to the picture on the page, hop by hop."""

import hashlib
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from people import Asked, Crew

HOPS = (
    "pressed → committed in Odoo",
    "committed → accepted by the bridge",
    "accepted → dispatched to N8N",
    "dispatched → AI service asked",
    "AI service asked → image fetched",
    "image fetched → stored by the bridge",
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
    [submission] = crew.ground.ai.calls_of(asked.correlation_id)
    moments = (
        asked.pressed_at,
        commits["waiting"],
        row["created_at"].timestamp(),
        row["dispatched_at"].timestamp(),
        submission.at,
        _fetched(crew)[row["image"]["sha256"]],
        row["completed_at"].timestamp(),
        commits["completed"],
        shown_at,
    )
    MEASURED.append([later - earlier for earlier, later in pairwise(moments)] + [shown_at - asked.pressed_at])


def note(line: str) -> None:
    """Adds a line to the report."""
    NOTES.append(line)


def _fetched(crew: "Crew") -> dict[str, float]:
    """Returns when each image was fetched from the AI service, by the SHA-256 of its bytes."""
    simulator = crew.ground.ai.simulator
    files = {name: hashlib.sha256(file.content).hexdigest() for name, file in simulator._files._files.items()}
    calls = {call.path.rpartition("/")[2]: call.at for call in simulator.calls.to("image")}
    return {files[name]: at for name, at in calls.items() if name in files}


def report() -> list[str]:
    """Returns the lines of the table: median and worst of each hop, in seconds."""
    if not MEASURED:
        return NOTES
    lines = [f"{len(MEASURED)} pictures"]
    for name, column in zip(HOPS, zip(*MEASURED, strict=True), strict=True):
        lines.append(f"  {name:<38} median {median(column):6.2f} s   worst {max(column):6.2f} s")
    return lines + NOTES
