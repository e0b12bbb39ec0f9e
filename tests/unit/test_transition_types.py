"""What the type checker refuses: a transition without a lock and without a version."""

from pathlib import Path

from mypy import api

CONFIG = Path(__file__).parents[2] / "pyproject.toml"
SNIPPET = """
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.request import Transition, VersionedTransition
from aigen_bridge.store import transitions
from aigen_bridge.store.transitions import Deadlines


async def write(
    connection: AsyncConnection, deadlines: Deadlines, plain: Transition, versioned: VersionedTransition
) -> None:
    locked = await transitions.lock(connection, [plain.request_id])
    await locked.apply([plain, versioned], deadlines)
    await transitions.apply_versioned(connection, [versioned], deadlines)
    await transitions.apply_versioned(connection, [plain], deadlines)  # refused
    await transitions.apply_versioned(connection, [versioned, plain], deadlines)  # refused
    await transitions.LockedRequests.apply(connection, [plain], deadlines)  # refused
    await transitions.apply(connection, [plain], deadlines)  # refused
"""


def test_only_a_versioned_transition_can_be_applied_without_locked_requests(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    report, errors, _ = api.run(["--config-file", str(CONFIG), "--no-error-summary", str(snippet)])
    refused = {int(line.split(":")[1]) for line in report.splitlines() if ": error:" in line}

    assert errors == ""
    assert refused == {n for n, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}, report
