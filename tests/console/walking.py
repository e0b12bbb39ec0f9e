"""Every route of the console, so that tests hold for pages that are added later."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aigen_bridge.asgi import create_app
from aigen_bridge.console import assets
from stage import make_settings

PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
OTHERS: Mapping[str, list[str]] = {
    "console": ["no-such-page"],
    "images": ["1", "9"],
    "letters": ["callback-1", "entry-9999"],
    "static": [assets.DIGEST, "0123456789ab"],
    "{digest}": [*assets.FILES, "no-such-file.js"],
}
"""Values for path parameters, beside the names of what was planted, by the segment before them."""
TEMPLATES = Path(assets.__file__).parent / "templates"
FIELDS = frozenset(re.findall(r'name="(\w+)"', "".join(path.read_text() for path in TEMPLATES.glob("*.html")))) - {
    "csrf"
}
"""The fields of all forms. Those of filters are query parameters."""


@dataclass(frozen=True)
class Visit:
    """A route of the console with values for its path parameters."""

    method: str
    route: str
    path: str


def visits(method: str, names: Mapping[str, list[str]]) -> list[Visit]:
    """Returns each route of the application below /console, with each of its examples."""
    app = create_app(make_settings("postgresql://nobody@127.0.0.1:9/none"))
    routes = [route for route in app.state.routes if route.path.partition("/console")[0] == ""]
    assert len(routes) > 5
    return [
        Visit(method, route.path, path)
        for route in routes
        if method in route.methods
        for path in _paths(route.path, {**OTHERS, **names})
    ]


def _paths(route: str, names: Mapping[str, list[str]]) -> Iterator[str]:
    segments = route.split("/")
    choices = []
    for before, segment in itertools.pairwise(["", *segments]):
        if not PARAMETER.search(segment):
            choices.append([segment])
            continue
        key = PARAMETER.sub(r"{\1}", before)
        assert key in names, f"{route}: console/planted.py or console/walking.py needs examples for {key!r}"
        choices.append([PARAMETER.sub(quote(name, safe=":"), segment) for name in names[key]])
    yield from ("/".join(chosen) for chosen in itertools.product(*choices))


class Html(HTMLParser):
    """Collects what a page must not have: scripts and styles of its own, handlers of events, things from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.headings = 0
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = dict(attrs)
        self._in_script = tag == "script"
        self.headings += tag == "h1"
        if tag in {"style", "iframe", "object", "embed", "base", "font"}:
            self.wrong.append(f"<{tag}>")
        self.wrong += [f"<{tag} {name}>" for name in given if name.startswith("on") or name in {"style", "nonce"}]
        self.wrong += [f"hx-on on <{tag}>" for name in given if name.startswith(("hx-on", "hx-vars", "hx-vals"))]
        if tag in {"script", "link", "img", "source", "use"}:
            loaded = str(given.get("src") or given.get("href") or "")
            if not loaded.startswith("/console/"):
                self.wrong.append(f"<{tag}> loads {loaded!r}")
        if tag == "a" and re.match(r"\s*(javascript|data|vbscript):", str(given.get("href")), re.IGNORECASE):
            self.wrong.append(f"<a href={given['href']!r}>")
        if tag == "form" and not str(given.get("action", "/console/")).startswith("/console/"):
            self.wrong.append(f"<form action={given['action']!r}>")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.wrong.append(f"a script of the page's own: {data[:60]!r}")
