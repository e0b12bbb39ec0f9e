"""The marking of the demo's image: its settings, and the proof."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aigen_bridge.cli.marking import EXTRA_MISSING
from aigen_bridge.cli.marks_of_file import read_marks
from aigen_bridge.cli.terminal import fail
from aigen_bridge.clients.credentials import is_available
from aigen_bridge.domain.provenance import MarkingMode
from aigen_bridge.sim.demo import Marking
from aigen_bridge.sim.demo_request import DemoFailedError


def marking(mode: MarkingMode) -> Marking | None:
    """Returns how the demo marks its image; None if it does not. Ends the command if the extra is missing."""
    if mode is MarkingMode.OFF:
        return None
    if mode is MarkingMode.C2PA and not is_available():
        fail(EXTRA_MISSING)
    return Marking(partial(_settings, mode), partial(_proof, mode))


def _settings(mode: MarkingMode, folder: Path) -> Mapping[str, Any]:
    if mode is MarkingMode.METADATA:
        return {"mode": mode}
    from aigen_bridge.clients.signing_certificate import make_test_certificate

    certificate, key = make_test_certificate(folder, datetime.now(UTC))
    return {"mode": mode, "certificate": str(certificate), "key": str(key)}


def _proof(mode: MarkingMode, image: Path) -> str:
    """Checks the file as `aigen-bridge marking check` does. Raises `DemoFailedError`."""
    marks = read_marks(image)
    facts = dict(marks.facts())
    if not marks.says_generated or marks.is_signed != (mode is MarkingMode.C2PA):
        raise DemoFailedError(f"The image in Odoo is not marked as it should be: {facts}.")
    shown = ("manifest",) if marks.is_signed else ("source type", "AI system", "creator tool")
    return f"{facts['result']}: {'; '.join(facts[name] for name in shown if name in facts)}"
