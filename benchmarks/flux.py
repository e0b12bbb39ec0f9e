"""The AI service of figure 11: `python -m benchmarks.flux PORT KEY`. Every job ends at once, with one PNG of 1 MB."""

import sys

from aigen_bridge.sim import flux
from aigen_bridge.sim.serving import run
from benchmarks.pictures import noise

PICTURE = noise(1)
"""Its sides are those that `noise(1)` always has; ask for an image of this size."""


def main(port: int, key: str) -> None:
    """Serves until the process is stopped."""
    flux.draw = lambda *_prompt, **_how: PICTURE.content
    run(flux.FluxSimulator(flux.FluxSettings(key=key, seconds=0)).app, port=port)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
