"""The interface between the worker and a step."""

from typing import Protocol, TypeVar

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.outbox import Effect, Lease
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retry import Policy

C_contra = TypeVar("C_contra", bound=Lease, contravariant=True)


class StepRunner(Protocol[C_contra]):
    """A step that makes outbound calls. It raises `TransientError` or `PermanentError`; anything else is a bug."""

    @property
    def step(self) -> Step:
        """The step of the entries that it runs."""
        ...

    @property
    def policy(self) -> Policy:
        """The retry schedule."""
        ...

    @property
    def concurrency(self) -> int:
        """The most entries in progress at once in one worker."""
        ...

    async def run(self, claim: C_contra) -> Effect:
        """Makes the call. Returns its effect on the request or the incident."""
        ...

    def gave_up(self, error: StepError) -> Effect:
        """Returns the effect on the request or the incident when the entry is given up."""
        ...
