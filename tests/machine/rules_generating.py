"""Actions of N8N's executions: ask, name a job, report progress, fall silent. And of a database that was restored."""

from typing import Any

from hypothesis import strategies as st

from aigen_bridge.domain.generation import Ask, NamedJob, Progress, ProgressReport, ProviderJob, Stage
from machine.base import Base, actions, pick
from machine.ground import MINUTE, Ground
from machine.world import correlation_id, request_id

GENERATION = actions(
    "an_execution",
    what=st.sampled_from([*("asks",) * 5, *("names a job",) * 2, "reports progress", "is told that its image fails"]),
    which=pick,
    holds=st.sampled_from([True, True, False]),
    key=st.sampled_from(["new", "new", "the same", None]),
    cost=st.sampled_from(["nothing", "nothing", "no job", "its ended job"]),
    quiet_for=st.sampled_from([0, 0, 7.5]),
)


class Generating(Base):
    """Rules for generations. The jobs of a request are those that its executions have named."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.drawn = 0

    def an_execution(self, what: str, which: int, *, holds: bool, key: str | None, cost: str, quiet_for: float) -> None:
        number = self.chosen(which)
        wanted = self.generations[number]
        self.drawn += 1
        execution = wanted.holder if holds and wanted.holder else f"execution {number}-{which % 3}"
        match what:
            case "asks":
                own_key = {"new": f"key {self.drawn}", "the same": wanted.key}.get(key or "")
                self.ask_to_generate(number, execution, own_key, cost, quiet_for)
            case "names a job":
                job = f"job {self.drawn}" if holds or not wanted.named else min(wanted.named)
                self.name_job(number, execution, job)
            case "reports progress":
                self.report_progress(number, execution, quiet_for)
            case _:
                self.do(self.ground.generations.suspend(request_id(number)))
                wanted.refuse_image()

    def ask_to_generate(self, number: int, execution: str, key: str | None, cost: str, quiet_for: float) -> None:
        """Asks, and checks the decision and the job that comes with it."""
        wanted = self.generations[number]
        how: dict[str, Any] = {
            "no_job": cost == "no job",
            "ended_job": wanted.job if cost == "its ended job" else None,
        }
        asked = Ask(
            correlation_id=correlation_id(number),
            execution_id=execution,
            key=key,
            quiet_for=quiet_for * MINUTE,
            **how,
        )
        decision = wanted.ask(execution, key, self.now, quiet_for=quiet_for, **how)
        answer = self.do(self.ground.generations.ask(request_id(number), asked))
        assert (answer.decision, answer.status) == (decision, self.expected[number].status)
        assert (answer.job and answer.job.job_id) == (wanted.job if decision == "resume" else None)

    def name_job(self, number: int, execution: str, job: str) -> None:
        """Names a job, and checks whether it is the one."""
        wanted = self.generations[number]
        named = NamedJob(
            correlation_id=correlation_id(number),
            execution_id=execution,
            job=ProviderJob(provider="fal", job_id=job),
        )
        verdict = wanted.name_job(execution, job, self.now)
        answer = self.do(self.ground.generations.name_job(request_id(number), named))
        assert (answer.is_other_job, answer.wanted) == (verdict == "other", wanted.wanted)
        assert (answer.job and answer.job.job_id) == (wanted.job if verdict == "other" else None)

    def report_progress(self, number: int, execution: str, quiet_for: float) -> None:
        """Reports progress, which a final request ignores."""
        wanted = self.generations[number]
        report = ProgressReport(
            correlation_id=correlation_id(number),
            execution_id=execution,
            progress=Progress(stage=Stage.GENERATING),
            quiet_for=quiet_for * MINUTE,
        )
        wanted.progress(quiet_for, self.now)
        answer = self.do(self.ground.generations.report_progress(request_id(number), report))
        assert (answer.status, answer.wanted) == (self.expected[number].status, wanted.wanted)

    def end_quiet(self) -> None:
        """Sweeps the generations whose quiet time is over."""
        for wanted in self.generations:
            wanted.be_silent(self.now)
        self.do(self.ground.end_quiet())

    def restore(self) -> None:
        """Restores the database from a backup of just now."""
        is_open = [number for number, wanted in enumerate(self.generations) if wanted.open]
        for number in is_open:
            self.generations[number].restore(self.now)
        self.do(self.ground.doubt([request_id(number) for number in is_open]))
