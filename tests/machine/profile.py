"""Number of examples: enough for every commit by default, about an hour of them with AIGEN_HYPOTHESIS=long."""

import os

from hypothesis import HealthCheck, Phase, settings

LONG = os.environ.get("AIGEN_HYPOTHESIS") == "long"
"""Read at collection, because the tests themselves do not see the machine's environment variables."""


def profile(*, examples: int, steps: int) -> settings:
    """Returns the settings.

    By default, examples are the same in every run: a failing build fails again, and new examples cannot break an
    unrelated change. With `long`, they are new.

    Examples have no deadline, because a real database on a busy machine may be slow.
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
