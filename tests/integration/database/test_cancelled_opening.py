"""A connection whose opening is cancelled is closed at once, whatever the moment, and not by the garbage collector."""

import asyncio
import gc
import warnings

import pytest

from aigen_bridge.store.database import open_engine
from stage import sqlalchemy_url


async def test_cancelling_the_opening_leaves_no_connection(database_url: str) -> None:
    for pauses in range(500):
        engine = open_engine(sqlalchemy_url(database_url), pool_size=1, name="test")
        with warnings.catch_warnings(record=True) as leaks:
            warnings.simplefilter("always")
            task = asyncio.ensure_future(engine.connect())
            for _ in range(pauses):
                await asyncio.sleep(0.0003)
            opened = task.done()
            task.cancel()
            for connection in await asyncio.gather(task, return_exceptions=True):
                if not isinstance(connection, BaseException):
                    await connection.close()
            await engine.dispose()
            gc.collect()
        assert not leaks, f"after {pauses} pauses: {leaks[0].message}"
        if opened:
            return
    pytest.fail("never opened")
