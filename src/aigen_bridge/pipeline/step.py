"""What the worker expects of a step."""

from typing import Protocol, TypeVar

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.outbox import Lease
from aigen_bridge.domain.outcome import Effect
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import Policy

C_contra = TypeVar("C_contra", bound=Lease, contravariant=True)


class StepRunner(Protocol[C_contra]):
    """One kind of outbound obligation. Raises `TransientError` or `PermanentError`, nothing else on purpose."""

    @property
    def step(self) -> Step:
        """Which entries it works on."""
        ...

    @property
    def policy(self) -> Policy:
        """How often and how long it is tried."""
        ...

    @property
    def concurrency(self) -> int:
        """How many may be in hand at once in one worker."""
        ...

    async def run(self, claim: C_contra) -> Effect:
        """Do it; the answer is what it means for the request, or the incident."""
        ...

    def gave_up(self, error: StepError) -> Effect:
        """What it means for the request that there will be no further try."""
        ...
