"""Alternating measurements, so that other load on the machine affects both sides of a ratio equally."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.wrk import Load

T = TypeVar("T")


async def in_turns(repetitions: int, sides: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """Runs each side `repetitions` times, alternating and in opposite order every other time, after a warm-up run."""
    for side in sides.values():
        await side()
    found: dict[str, list[T]] = {name: [] for name in sides}
    for turn in range(repetitions):
        for name, side in list(sides.items())[:: -1 if turn % 2 else 1]:
            found[name].append(await side())
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Returns the median of the ratios of adjacent measurements."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def medians(found: Mapping[str, Sequence[Load]]) -> dict[str, float]:
    """Returns each side's median rate and response times, for display."""
    return {
        f"{side}, {name}": statistics.median(getattr(load, value) for load in loads)
        for side, loads in found.items()
        for name, value in (("per second", "per_second"), ("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"))
    }


def rate_ratio(above: Sequence[Load], below: Sequence[Load]) -> float:
    """Returns the `ratio` of the responses per second."""
    return ratio([load.per_second for load in above], [load.per_second for load in below])
