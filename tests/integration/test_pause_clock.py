"""N8N's clock and the time of pauses, against a model: whatever follows upon whatever, no second counts twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import N8N, BreakerConfig, BreakerState
from aigen_bridge.store import destinations
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.destination_changes import ChangeableDestinations
from aigen_bridge.store.generation_rows import N8N_NOW
from aigen_bridge.store.pauses import paused_time
from stage import sqlalchemy_url

CONFIG = BreakerConfig()
BY = OperatorAction("ops", "a test")
PAST = """
    UPDATE destinations SET opened_at = opened_at - make_interval(secs => :s), probe_at = now() - interval '1 second',
        paused_at = paused_at - make_interval(secs => :s) WHERE name = 'n8n' AND opened_at IS NOT NULL;
    UPDATE destinations SET paused_at = paused_at - make_interval(secs => :s)
        WHERE name = 'n8n' AND opened_at IS NULL;
    UPDATE destination_pauses SET began_at = began_at - make_interval(secs => :s),
        ended_at = ended_at - make_interval(secs => :s)
"""
"""Makes time pass, in which the breaker, if it is open, was probed all the time."""
READ = text(f"""
    SELECT extract(epoch FROM now() - {N8N_NOW}) AS stood,
        extract(epoch FROM {paused_time("'n8n'", "now() - make_interval(secs => :age)")}) AS paused
""")  # noqa: S608 - constants of the package

steps = st.lists(
    st.one_of(
        st.sampled_from(["open", "close", "pause", "resume"]),
        st.integers(min_value=60, max_value=6000),
    ),
    max_size=12,
)


@dataclass
class Model:
    """The seconds that passed, each with whether N8N was out and paused."""

    is_out: bool = False
    is_paused: bool = False
    passed: list[tuple[int, bool, bool]] = field(default_factory=list)

    @property
    def stood(self) -> int:
        return sum(seconds for seconds, out, paused in self.passed if out or paused)

    @property
    def age(self) -> int:
        return sum(seconds for seconds, _, _ in self.passed)

    @property
    def paused(self) -> int:
        return sum(seconds for seconds, _, paused in self.passed if paused)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    database = Database(open_engine(sqlalchemy_url(url), pool_size=2, name="test"))
    try:
        yield database
    finally:
        await database.close()


async def _breaker(connection: AsyncConnection, *, is_open: bool) -> None:
    await destinations.lock_destination(connection, N8N.name)
    state = BreakerState(0, is_open=is_open, concurrency_limit=1)
    await destinations._write(connection, N8N.name, CONFIG, state, [])


async def _apply(database: Database, model: Model, step: str | int) -> None:
    if isinstance(step, int):
        async with database.transaction() as connection:
            for statement in PAST.split(";"):
                await connection.execute(text(statement), {"s": step})
        model.passed.append((step, model.is_out, model.is_paused))
    elif step in {"pause", "resume"}:
        changes = ChangeableDestinations(database, {N8N: CONFIG})
        model.is_paused = step == "pause"
        await (changes.pause(N8N.name, BY) if model.is_paused else changes.resume(N8N.name, BY))
    else:  # only a worker of an older version opens the breaker of a paused destination
        model.is_out = step == "open"
        async with database.transaction() as connection:
            await _breaker(connection, is_open=model.is_out)


async def _run(url: str, taken: list[Any]) -> tuple[Model, float, float]:
    model = Model()
    async with _opened(url) as database:
        async with database.transaction() as connection:
            await connection.execute(text("TRUNCATE destination_pauses"))
            await connection.execute(text("UPDATE destinations SET out_seconds = 0, paused_at = NULL"))
            await _breaker(connection, is_open=False)
            await connection.execute(text("UPDATE destinations SET out_seconds = 0"))
        for step in taken:
            await _apply(database, model, step)
        async with database.reading() as connection:
            row = (await connection.execute(READ, {"age": model.age})).one()
    return model, float(row.stood), float(row.paused)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=steps)
@example(taken=["open", 600, "pause", 600, "resume", 600])
@example(taken=["pause", 600, "open", 600, "resume", 600, "close", 600])
@example(taken=["open", 600, "pause", 600, "close", 600, "resume", 600])
def test_the_clock_stands_still_while_n8n_is_out_or_paused_and_at_no_other_time(
    database_url: str, taken: list[Any]
) -> None:
    model, stood, paused = asyncio.run(_run(database_url, taken))

    assert stood == pytest.approx(model.stood, abs=30)
    assert paused == pytest.approx(model.paused, abs=30)
