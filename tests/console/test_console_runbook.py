"""The runbook in the console: every cause has its entry, and no link on it is dead."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from aigen_bridge.console.navigation import NAVIGATION
from aigen_bridge.console.runbook import PATH, anchor_of, runbook, runbook_url
from aigen_bridge.domain.incident import Cause
from console.operator import Operator
from stage import Stage

ROOT = Path(__file__).parents[2]


class _Links(HTMLParser):
    """Collects the ids of a page and the addresses of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links += [given["href"] or ""] if tag == "a" else []


def _parsed() -> _Links:
    links = _Links()
    links.feed(runbook().html)
    return links


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_of_an_incident_leads_to_an_entry_that_says_what_to_do(cause: Cause) -> None:
    path, _, anchor = runbook_url(cause).partition("#")
    assert path == PATH
    [heading] = [heading for heading in runbook().headings if heading.anchor == anchor]
    entry = runbook().html.partition(f'id="{heading.anchor}"')[2].partition("<h")[0]
    assert "<strong>Do</strong>" in entry


def test_every_link_leads_to_a_place_on_the_page_or_to_an_address() -> None:
    links = _parsed()
    assert len(links.links) > 5
    for link in links.links:
        assert link.startswith(("http://", "https://")) or link.removeprefix("#") in links.ids, link


def test_links_to_other_files_are_the_names_of_files_that_exist() -> None:
    named = set(re.findall(r"<code>(docs/[\w.-]+)</code>", runbook().html))
    assert named >= {"docs/deployment.md", "docs/budgets.md"}
    assert all((ROOT / name).is_file() for name in named)
    assert ">deployment.md<" not in runbook().html


def test_anchors_are_those_that_github_makes() -> None:
    assert anchor_of("AigenWebhookFailing") == "aigenwebhookfailing"
    assert anchor_of("Who is told") == "who-is-told"
    assert anchor_of("A budget's `limit`, again") == "a-budgets-limit-again"


def test_the_image_is_built_from_everything_that_the_wheel_includes() -> None:
    included = re.search(r"force-include]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert included
    sources = re.findall(r'^"(\S+)" =', included[1], re.MULTILINE)
    dockerfile, kept = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()
    assert {"migrations", "docs/operations.md"} <= set(sources)
    for source in sources:
        assert f"COPY {source} {source}\n" in dockerfile
        assert f"!{source}\n" in kept


def test_an_operator_finds_an_entry_from_the_keyboard(
    staging: Callable[..., Stage], visiting: Callable[..., Operator]
) -> None:
    operator = visiting(staging())
    operator.page.keyboard.press("g")
    operator.page.keyboard.press("h")
    operator.page.wait_for_url("**/console/runbook")
    operator.page.click(".contents >> text=AigenMaybePaid")
    assert operator.page.locator("#aigenmaybepaid").is_visible()
    assert operator.page.url.endswith("#aigenmaybepaid")
    operator.snap("runbook")


def test_what_the_runbook_says_to_press_is_in_the_menu_or_on_a_page() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    lines = re.findall(r"^\*\*Console\*\*: (.+?)(?=\n\n|\n#|\n\*\*|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(lines) > 12
    pages = {entry.label for group in NAVIGATION for entry in group.entries}
    templates = "\n".join(path.read_text() for path in (ROOT / "src/aigen_bridge/console/templates").glob("*.html"))
    named = {name for line in lines for name in re.findall(r"\*([^*\n]+)\*", line)}
    assert [name for name in sorted(named) if name not in pages and not re.search(rf"\b{name}", templates)] == []
