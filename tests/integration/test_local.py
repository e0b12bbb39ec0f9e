"""The stand-ins of `up`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aigen_bridge import local
from aigen_bridge.sim.chain import Chain, simulators


async def test_every_run_has_the_same_odoo_because_results_for_another_database_are_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains: list[Chain] = []

    @asynccontextmanager
    async def recorded(**given: Any) -> AsyncIterator[Chain]:
        async with simulators(**given) as chain:
            chains.append(chain)
            yield chain

    monkeypatch.setattr(local, "simulators", recorded)
    monkeypatch.setenv("AIGEN_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    for _ in range(2):
        async with local.local_settings(tmp_path, "http://127.0.0.1:9", lambda _: None):
            pass

    assert len(chains) == 2
    assert len({chain.odoo.database_uuid for chain in chains}) == 1
