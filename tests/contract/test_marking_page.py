"""docs/marking.md names every setting, and its links lead somewhere."""

import re
from pathlib import Path

from aigen_bridge.settings.sections import MarkingSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "marking.md").read_text()


def test_every_setting_is_named() -> None:
    assert [name for name in MarkingSettings.model_fields if f"__{name.upper()}" not in PAGE] == []


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            titles = re.findall(r"^#+ (.*)$", (DOCS / (path or "marking.md")).read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not anchor or anchor in anchors, target
