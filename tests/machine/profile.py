"""How much is tried: enough for every commit by default, for an hour or so with AIGEN_HYPOTHESIS=long."""

import os

from hypothesis import HealthCheck, Phase, settings

LONG = os.environ.get("AIGEN_HYPOTHESIS") == "long"
"""Read when the tests are collected: no test sees the variables of the machine it runs on."""


def profile(*, examples: int, steps: int) -> settings:
    """The same ways each time by default: a red build is red again, and never another's fault. New ones in `long`.

    A real database on a busy machine may take its time, so no example has a deadline.
    """
    return settings(
        max_examples=examples * (30 if LONG else 1),
        stateful_step_count=steps * (2 if LONG else 1),
        derandomize=not LONG,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
