"""Checks that AIGEN_DATABASE__LISTEN_URL leads to the bridge's own database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aigen_bridge.domain.errors import UnsuitableDatabaseError

WHICH = """
    SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()) FROM pg_control_system()
"""
"""The identity of a database. Standbys have that of their primary."""


def refuse_another_database(expected: Sequence[Any], found: Sequence[Any]) -> None:
    """Raises `UnsuitableDatabaseError` if the listener's URL leads to another database."""
    if expected != found:
        raise UnsuitableDatabaseError(
            "AIGEN_DATABASE__LISTEN_URL leads to another database, whose notifications are not the bridge's.",
            "Name the database of AIGEN_DATABASE_URL in it, past the pooler; or remove it: workers poll then.",
        )


@contextmanager
def naming_listen_url() -> Iterator[None]:
    """Names the listener's URL in errors about a URL."""
    try:
        yield
    except UnsuitableDatabaseError as error:
        texts = (
            text.replace("AIGEN_DATABASE_URL", "AIGEN_DATABASE__LISTEN_URL") for text in (error.detail, error.advice)
        )
        raise UnsuitableDatabaseError(*texts) from error
