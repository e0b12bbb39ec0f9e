"""`python -m benchmarks.chart`: draws each ratio beside its limit, for the README, from the stored results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

RESULTS, SVG = Path("docs/performance.json"), Path("docs/performance.svg")
WIDTH, LEFT, BAR, ROW, TOP = 860, 400, 330, 24, 58
GOOD, BAD = "#2e7d32", "#c62828"
FULL = 2.0
"""The longest bar, as a multiple of the limit."""


def draw(document: Mapping[str, Any]) -> str:
    """Returns the chart as SVG. A bar of half the width is exactly at the limit; longer is better."""
    checks = [check for figure in document["figures"] for check in figure["checks"]]
    machine = document["machine"]
    caption = f"{document['at'][:10]}, {machine['processors']} processors, load {machine['load_before']} before the run"
    height = TOP + ROW * len(checks) + 16
    middle = LEFT + BAR / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><g font-family="sans-serif">',
        '<text x="12" y="22" font-size="15" font-weight="bold">Measured against the limit</text>',
        f'<text x="12" y="42" fill="#555">{escape(caption)}</text>',
        f'<text x="{middle}" y="42" text-anchor="middle" fill="#555">the limit</text>',
    ]
    lines += [_row(check, TOP + ROW * number) for number, check in enumerate(checks)]
    lines.append(f'<line x1="{middle}" x2="{middle}" y1="{TOP - 8}" y2="{height - 12}" stroke="#555"/></g></svg>')
    return "\n".join(lines) + "\n"


def _row(check: Mapping[str, Any], top: int) -> str:
    better = (
        check["value"] / check["least"] if check["least"] is not None else check["most"] / max(check["value"], 1e-9)
    )
    length = min(better, FULL) / FULL * BAR
    colour = GOOD if check["holds"] else BAD
    sign, limit = ("≥", check["least"]) if check["least"] is not None else ("≤", check["most"])
    label = f"{check['value']:.3g} {check['unit']} ({sign} {limit:g})"
    return (
        f'<text x="{LEFT - 10}" y="{top + 13}" text-anchor="end">{escape(check["name"])}</text>'
        f'<rect x="{LEFT}" y="{top + 2}" width="{length:.0f}" height="14" fill="{colour}"/>'
        f'<text x="{LEFT + BAR + 8}" y="{top + 13}">{escape(label)}</text>'
    )


if __name__ == "__main__":
    SVG.write_text(draw(json.loads(RESULTS.read_text())))
