"""Other people than an operator of every Odoo."""

import html
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from aigen_bridge.domain.session import Role
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.sessions import Sessions
from stage import CLIENTS, UNREACHABLE, Stage, make_settings

NORTH_OPS = "north-ops"
TWO_ODOOS: dict[str, Any] = {
    "clients": CLIENTS
    | {
        NORTH_OPS: {"keys": ["key-of-north-ops"], "scopes": ["ops"], "odoo": "north"},
        "north": {"keys": ["key-of-north"], "scopes": ["requests"], "odoo": "north"},
    },
    "odoos": {"north": UNREACHABLE["odoo"]},
}
"""Settings with a second Odoo, and an operator who acts on that one only."""
OPS = {"X-API-Key": "key-of-ops"}


def call(stage: Stage, method: str, path: str, **options: Any) -> httpx.Response:
    """Calls the API as an operator, and asserts that it worked."""
    answer = httpx.request(method, f"{stage.api.base_url}{path}", headers=OPS, timeout=30, **options, verify=False)
    assert answer.is_success, answer.text
    return answer


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[Database]:
    """Opens the database of a test in the loop of its stage."""
    settings = make_settings(database_url)
    database = Database(open_engine(settings.database_url.get_secret_value(), pool_size=2, name="test"))
    try:
        yield database
    finally:
        await database.close()


@contextmanager
def as_viewer(stage: Stage, run: Callable[..., Any]) -> Iterator[httpx.Client]:
    """Yields an HTTP client with the session of a viewer."""

    async def open_session() -> str:
        async with opened(stage.settings.database_url.get_secret_value()) as database:
            return await Sessions(database).open("eve", Role.VIEWER, odoo=None, key_digest=None, note="in a test")

    with httpx.Client(
        base_url=str(stage.api.base_url), cookies={"aigen_console": run(open_session())}, verify=False
    ) as console:
        yield console


def hidden(page: str, name: str) -> str:
    """Returns the value of a field of the first form that has it."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return html.unescape(found[1])
