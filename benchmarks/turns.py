"""Measuring in turns: what else the machine does meanwhile hits both sides of a ratio alike."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.wrk import Load

T = TypeVar("T")


async def in_turns(repetitions: int, sides: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """Run each side `repetitions` times, in turns, every other time in the opposite order, after one that warms up."""
    for side in sides.values():
        await side()
    found: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(repetitions):
        for name, side in list(sides.items())[:: -1 if turn % 2 else 1]:
            found[name].append(await side())
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of those that were measured side by side."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def medians(found: Mapping[str, Sequence[Load]]) -> dict[str, float]:
    """What each side reached, for people to see."""
    return {
        f"{side}, {name}": statistics.median(getattr(load, value) for load in loads)
        for side, loads in found.items()
        for name, value in (("per second", "per_second"), ("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"))
    }


def rate_ratio(above: Sequence[Load], below: Sequence[Load]) -> float:
    """`ratio` of the answers a second."""
    return ratio([load.per_second for load in above], [load.per_second for load in below])
