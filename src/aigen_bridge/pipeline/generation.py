"""N8N → bridge: may this execution start the paid work, which job did it submit, how far is it."""

from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.generation import Ask, GenerationAnswer, NamedJob, ProgressReport


class Store(Protocol):
    """The generations. Every method returns after the commit.

    Raises `UnknownRequestError`, `ContradictionError` for another correlation id, and `StoreUnavailableError`.
    """

    async def ask(self, request_id: UUID, asked: Ask) -> GenerationAnswer: ...

    async def name_job(self, request_id: UUID, named: NamedJob) -> GenerationAnswer: ...

    async def report_progress(self, request_id: UUID, report: ProgressReport) -> GenerationAnswer: ...
