"""The name under which the command line records what an operator does."""

import os

import pytest

from aigen_bridge.cli.terminal import person


def test_a_user_without_a_name_is_recorded_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the user that OpenShift gives a container."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1000680000)
    assert person() == "cli:uid-1000680000"
