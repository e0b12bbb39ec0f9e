"""Draws the story of a request: bars at percentages of the width, for SVG without styles."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from aigen_bridge.console.render import duration
from aigen_bridge.domain.story import Axis, Bar, Row, Story

LEAST = 0.5
"""The least width of a bar in percent: a moment has none, and must be seen."""


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """A bar from `x`, `width` wide, in percent."""

    x: float
    width: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """A row of the picture, with the time since the beginning, its duration and what it says."""

    label: str
    after: timedelta
    took: timedelta
    kind: str
    text: str
    bars: tuple[DrawnBar, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A text on the axis at `x` percent. `anchor` is the side of the text that is there."""

    x: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Picture:
    """The rows, the marks on the axis, and the stretches that are much longer than they are drawn."""

    rows: tuple[DrawnRow, ...]
    ticks: tuple[Mark, ...]
    breaks: tuple[Mark, ...]


def draw(told: Story) -> Picture:
    """Returns the picture of a story."""
    axis = told.axis
    begin = told.rows[0].bars[0].start
    rows = tuple(
        DrawnRow(row.label, row.main.start - begin, row.took, row.main.kind, row.main.text, tuple(_bars(axis, row)))
        for row in told.rows
    )
    breaks = tuple(Mark(_percent(each.place), f"\N{ALMOST EQUAL TO} {duration(each.length)}") for each in axis.breaks())
    return Picture(rows, tuple(_ticks(axis)), breaks)


def _bars(axis: Axis, row: Row) -> Iterator[DrawnBar]:
    for bar in row.bars:
        x = min(_percent(axis.place(bar.start)), 100 - LEAST)
        width = max(_percent(axis.place(bar.end)) - x, LEAST)
        yield DrawnBar(x, round(width, 2), bar.kind, f"{_length(bar)}{bar.text}")


def _length(bar: Bar) -> str:
    return f"{duration(bar.took)}: " if bar.took else ""


def _ticks(axis: Axis) -> Iterator[Mark]:
    ticks = axis.ticks()
    for tick in ticks:
        anchor = "start" if tick.place == 0 else "end" if tick is ticks[-1] else "middle"
        yield Mark(_percent(tick.place), duration(tick.after) if tick.after else "0", anchor)


def _percent(place: float) -> float:
    return round(place * 100, 2)
