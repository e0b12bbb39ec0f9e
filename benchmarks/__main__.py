"""`python -m benchmarks [NAME …]`: measures, prints a table, writes the results. Exits with 0 if every limit holds."""

import argparse
import asyncio
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure
from benchmarks.ground import prepared

NAMES = (
    *("accept", "failed", "completed", "latency", "drain", "growth", "memory", "slow_webhook", "slow_odoo"),
    *("progress", "odoos", "search", "overview", "marking"),
)
ON_DEMAND = ("n8n",)
"""Measured only if named: they need more than this repository installs by itself."""
WHOLE = 10
"""Numbers from this value on are printed without decimals."""
RESULTS = Path(".aigen/bench.json")

console = Console(width=None if sys.stdout.isatty() else 120)


def main() -> int:
    """Runs the selected benchmarks."""
    given = _arguments()
    began, load = time.monotonic(), os.getloadavg()[0]
    console.print(f"{os.cpu_count()} processors, load {load:.1f} before it begins.")
    with prepared(repetitions=given.repetitions, seconds=given.seconds) as ground:
        found = []
        for name in given.names or NAMES:
            module = importlib.import_module(f"benchmarks.{name}")
            figure = asyncio.run(module.measure(ground))
            _print(figure)
            found.append(figure)
    took = time.monotonic() - began
    _table(found)
    given.results.parent.mkdir(exist_ok=True)
    given.results.write_text(json.dumps(_document(found, load, took), indent=2) + "\n")
    console.print(f"{took:.0f} s. Everything in {given.results}.")
    return 0 if all(figure.holds for figure in found) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="What the bridge costs.")
    parser.add_argument("names", nargs="*", help=f"which figures; if none is named, all but {', '.join(ON_DEMAND)}")
    parser.add_argument("--repetitions", type=int, default=3, help="of each side of a ratio")
    parser.add_argument("--seconds", type=float, default=3, help="of one run under load")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that is written")
    given = parser.parse_args()
    if unknown := set(given.names) - {*NAMES, *ON_DEMAND}:
        parser.error(f"There is no {', '.join(unknown)}; there are {', '.join((*NAMES, *ON_DEMAND))}.")
    return given


def _print(figure: Figure) -> None:
    console.print(f"\n{figure.number}. {figure.title}", style="bold")
    for name, value in figure.facts.items():
        console.print(f"   {name}: {value:,.{0 if value >= WHOLE else 2}f}")


def _table(found: Sequence[Figure]) -> None:
    table = Table("", "figure", "measured", "limit", "")
    for figure in found:
        for check in figure.checks:
            verdict = "[green]holds[/]" if check.holds else "[red]MISSED[/]"
            table.add_row(str(figure.number), check.name, f"{check.value:.2f} {check.unit}", check.limit, verdict)
    console.print()
    console.print(table)


def _document(found: Sequence[Figure], load: float, took: float) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processors": os.cpu_count(), "load_before": round(load, 1), "python": platform.python_version()},
        "seconds": round(took),
        "figures": [figure.as_json() for figure in found],
    }


if __name__ == "__main__":
    sys.exit(main())
