"""Pages about a section of the settings name each of them, and the links of every page lead somewhere."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from aigen_bridge.settings.sections import ImageStoreSettings, MarkingSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGES: dict[str, type[BaseModel]] = {"marking.md": MarkingSettings, "image-store.md": ImageStoreSettings}

every_page = pytest.mark.parametrize("page", PAGES)


@every_page
def test_every_setting_is_named(page: str) -> None:
    text = (DOCS / page).read_text()
    assert [name for name in PAGES[page].model_fields if f"__{name.upper()}" not in text] == []


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (DOCS / page).read_text()):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            assert (DOCS / path).exists(), target
            assert not anchor or anchor in _anchors(DOCS / (path or page)), target


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
