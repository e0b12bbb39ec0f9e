"""A connection whose opening is cancelled is closed at once, whatever the moment, and not by the garbage collector."""

import asyncio
import gc
import warnings

from aigen_bridge.store.database import open_engine
from stage import sqlalchemy_url


async def _cancel_after(pauses: int, url: str) -> bool:
    """Opens a connection and cancels the opening after so many pauses. Returns whether it was open by then."""
    engine = open_engine(url, pool_size=1, name="test")
    opening = asyncio.ensure_future(engine.connect())
    for _ in range(pauses):
        await asyncio.sleep(0.0003)
    opened = opening.done()
    opening.cancel()
    for connection in await asyncio.gather(opening, return_exceptions=True):
        if not isinstance(connection, BaseException):
            await connection.close()
    await engine.dispose()
    return opened


async def test_cancelling_the_opening_leaves_no_connection(database_url: str) -> None:
    pauses = 0
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always")
        while not await _cancel_after(pauses, sqlalchemy_url(database_url)):
            pauses += 1
        gc.collect()
    assert not leaks, f"{len(leaks)} of {pauses}: {leaks[0].message}"
