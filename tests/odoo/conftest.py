"""A browser, and an Odoo that knows where the bridge is."""

from collections.abc import Iterator
from typing import Any

import pytest

from real_odoo import RealOdoo


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first of these tests waits until Odoo is installed."""
    for item in items:
        if "tests/odoo" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def headless() -> Iterator[Any]:
    """A headless Chromium."""
    from browser import chromium  # noqa: PLC0415 - Playwright is there only for these tests (make e2e-odoo)

    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(headless: Any) -> Iterator[Any]:
    """The same Chromium for each test. Closes what the test opened: an open page goes on asking for pictures."""
    yield headless
    for context in headless.contexts:
        context.close()


@pytest.fixture
def configure(real_odoo: RealOdoo) -> Any:
    """Tells the addon where the bridge is."""
    return real_odoo.configure
