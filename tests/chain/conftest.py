"""The whole chain, started once for all scenarios (`make e2e-chain`)."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from chain.hops import report
from real_n8n import INSTALLED
from real_odoo import RealOdoo


@pytest.fixture(scope="session")
def crew(real_odoo: RealOdoo) -> Iterator[Any]:
    """Two people in front of the whole chain."""
    pytest.importorskip("playwright", reason="Playwright is not installed here (make e2e-chain does that)")
    if not (INSTALLED / "installed").exists():
        pytest.skip("N8N is not installed in .e2e (make e2e-chain does that)")
    from browser import chromium  # noqa: PLC0415 - Playwright is there only for these tests
    from chain.ground import prepared  # noqa: PLC0415
    from chain.people import log_in_both  # noqa: PLC0415

    # Outside pytest's own folders: later sessions on this machine delete those.
    with (
        TemporaryDirectory(prefix="aigen-chain-") as home,
        prepared(real_odoo, Path(home)) as ground,
        chromium() as browser,
    ):
        yield log_in_both(ground, browser)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the time of each hop."""
    if lines := report():
        terminalreporter.section("from pressed to shown")
        terminalreporter.write_line("\n".join(lines))
