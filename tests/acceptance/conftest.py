"""What real processes need."""

import json

import pytest

from stage import CLIENTS, UNREACHABLE


@pytest.fixture
def configured(database_url: str) -> dict[str, str]:
    """Complete settings as environment variables; N8N and Odoo are away."""
    sections = {**UNREACHABLE, "clients": CLIENTS}
    return {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_PUBLIC_URL": "http://bridge.test",
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }
