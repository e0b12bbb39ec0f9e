"""Results of a benchmark: ratios with their limits, and absolute numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """A number with a limit: at least `least`, or at most `most`."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None
    unit: str = "x"

    @property
    def holds(self) -> bool:
        """Returns whether the value is within its limit."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    @property
    def limit(self) -> str:
        """The limit as text."""
        return f"≥ {self.least:g} {self.unit}" if self.least is not None else f"≤ {self.most:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures. `facts` are absolute numbers of this machine, with the unit in the name."""

    number: int
    name: str
    title: str
    checks: Sequence[Check]
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Returns whether every check holds."""
        return all(check.holds for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Returns the figure as in the results file."""
        checks = [asdict(c) | {"value": round(c.value, 3), "holds": c.holds} for c in self.checks]
        facts = {name: round(value, 3) for name, value in self.facts.items()}
        return {"number": self.number, "name": self.name, "title": self.title, "checks": checks, "facts": facts}
