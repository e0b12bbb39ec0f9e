"""The runbook as HTML: docs/operations.md, from the folder beside the sources or from the copy in the wheel."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from aigen_bridge.domain.incident import Cause

PATH = "/console/runbook"
FILE = "docs/operations.md"
ENTRIES: Mapping[Cause, str] = {
    Cause.DISPATCH_FAILED: "AigenWebhookFailing",
    Cause.IMAGE_FETCH_FAILED: "AigenDeadLettersOpen",
    Cause.IMAGE_REJECTED: "AigenDeadLettersOpen",
    Cause.IMAGE_UNMARKED: "AigenImagesUnmarked",
    Cause.TIMED_OUT: "AigenWorkflowFailing",
    Cause.DELIVERY_FAILED: "AigenDeliveryFailing",
    Cause.CALLBACK_QUARANTINED: "AigenCallbackFailing",
    Cause.EXECUTION_LOST: "AigenWorkflowFailing",
    Cause.WORKFLOW_FAILED: "AigenWorkflowFailing",
    Cause.MAYBE_PAID: "AigenMaybePaid",
    Cause.N8N_DOWN: "AigenBreakerOpen",
    Cause.WEBHOOK_NOT_FOUND: "AigenBreakerOpen",
    Cause.ODOO_DOWN: "AigenBreakerOpen",
    Cause.MARKING_DOWN: "AigenBreakerOpen",
    Cause.IMAGE_STORE_DOWN: "AigenImageStoreAway",
    Cause.SET_BACK: "AigenDatabaseSetBack",
    Cause.BUDGET_NOTICE: "A budget is nearly used up",
    Cause.COST_ABSURD: "An image cost far too much",
    Cause.REQUEST_ORPHANED: "AigenWorkForgotten",
}
"""The heading of the entry for each cause."""

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of the runbook. `level` is 2 or 3; `anchor` is its id on the page."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """The runbook as HTML, and its headings in order."""

    html: Markup
    headings: tuple[Heading, ...]


def runbook_url(cause: Cause) -> str:
    """Returns the address of the entry that says what to do about this cause."""
    return entry_url(ENTRIES[cause])


def entry_url(heading: str) -> str:
    """Returns the address of the entry with this heading, such as the name of an alert."""
    return f"{PATH}#{anchor_of(heading)}"


def anchor_of(heading: str) -> str:
    """Returns the id of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def runbook() -> Runbook:
    """Returns the runbook of this version."""
    inside_wheel = _PACKAGE / FILE
    return _rendered((inside_wheel if inside_wheel.is_file() else _PACKAGE.parents[1] / FILE).read_text())


def _rendered(text: str) -> Runbook:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", _open_table)
    markdown.add_render_rule("table_close", _close_table)
    tokens = list(_without_title(markdown.parse(text)))
    headings = tuple(_with_anchors(tokens))
    for token in tokens:
        token.children = token.children and _without_dead_links(token.children)
    html: str = markdown.renderer.render(tokens, markdown.options, {})
    return Runbook(Markup(html), headings)  # noqa: S704 - rendered from a file of ours, without its HTML


def _without_title(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yields the tokens without the heading of the whole text: the page has a heading of its own."""
    is_title = False
    for token in tokens:
        is_title = token.tag == "h1" if token.type.startswith("heading_") else is_title
        if token.tag != "h1" and not (is_title and token.type == "inline"):
            yield token
        is_title = is_title and token.type != "heading_close"


def _with_anchors(tokens: Sequence[Token]) -> Iterator[Heading]:
    """Gives each heading its id, and yields it."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor_of(inline.content))
            yield Heading(int(opening.tag[1:]), inline.content, anchor_of(inline.content))


def _without_dead_links(children: Sequence[Token]) -> list[Token]:
    """Returns the tokens of a line in which links to other files are the names of these files."""
    file = ""
    kept: list[Token] = []
    for token in children:
        href = str(token.attrs.get("href", ""))
        if token.type == "link_open" and not href.startswith(("#", "http://", "https://")):
            file = posixpath.normpath(posixpath.join("docs", href.partition("#")[0]))
        elif token.type == "link_close" and file:
            is_named = kept[-1].content == posixpath.basename(file)
            kept[-1:] = [_code(file)] if is_named else [kept[-1], _text(" ("), _code(file), _text(")")]
            file = ""
        else:
            kept.append(token)
    return kept


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _code(content: str) -> Token:
    return Token("code_inline", "code", 0, content=content)


def _open_table(*_: object) -> str:
    return '<div class="scroll" tabindex="0">\n<table>\n'


def _close_table(*_: object) -> str:
    return "</table>\n</div>\n"
