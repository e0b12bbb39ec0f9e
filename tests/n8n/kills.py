"""The result of each kill of N8N, for the table at the end of `make e2e-n8n`."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill, and what became of the request whose execution died.

    `was_reported`: at its next start, N8N reported the dead execution. `seconds`: from N8N's return to the picture in
    Odoo; 0 if the picture was there already.
    """

    stage: str
    is_window: bool
    jobs: int
    pictures: int
    was_reported: bool
    seconds: float


KILLS: list[Kill] = []


def report() -> list[str]:
    """Returns the lines of the table."""
    if not KILLS:
        return []
    head = f"{'N8N was killed when':<48} kills reported   pictures jobs doubled   back → picture: median      worst"
    stages = dict.fromkeys(kill.stage for kill in KILLS)
    rows = [_row(stage, [kill for kill in KILLS if kill.stage == stage]) for stage in stages]
    aimed = [kill for kill in KILLS if kill.is_window]
    elsewhere = _doubled(KILLS) - _doubled(aimed)
    window = f"window: {_doubled(aimed)} of {len(aimed)} kills aimed at it; second jobs elsewhere: {elsewhere}"
    return [head, *rows, _row("all", KILLS), window]


def _row(name: str, kills: list[Kill]) -> str:
    seconds = [kill.seconds for kill in kills]
    pictures = f"{sum(kill.pictures for kill in kills)} of {len(kills)}"
    counts = f"{len(kills):>5} {sum(kill.was_reported for kill in kills):>8} {pictures:>10}"
    jobs = f"{sum(kill.jobs for kill in kills):>4} {_doubled(kills):>7}"
    return f"{name:<48} {counts} {jobs} {median(seconds):>22.1f} s {max(seconds):>8.1f} s"


def _doubled(kills: Iterable[Kill]) -> int:
    return sum(kill.jobs - 1 for kill in kills)
