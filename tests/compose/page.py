"""The commands of docs/deployment.md, section by section, and blocks of other pages."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/deployment.md"
PARTS = re.compile(
    r"^#+ (?P<title>[^\n]+)$|^```\w*\n(?P<block>.*?)^```$|(?<!`)`(?P<spoken>[^`]+)`", re.MULTILINE | re.DOTALL
)


def commands(title: str) -> list[str]:
    """Returns the commands in the code blocks of a section, one for each line."""
    lines = [re.sub(r"(^|\s+)#\s.*", "", line) for line in _parts(title, "block") for line in line.splitlines()]
    return [line for line in lines if line.strip()]


def without_odoo_and_n8n(title: str, *rest: str) -> list[str]:
    """Returns the commands of a section without those of Odoo and N8N. Where compose would start everything: `rest`."""
    return [found for command in commands(title) if (found := _without(command, rest))]


def _without(command: str, rest: tuple[str, ...]) -> str | None:
    words = command.split()
    if words[2:3] not in (["up"], ["restart"]):
        return None if re.search(r"\b(odoo|n8n)\b", command) else command
    services = [word for word in words[3:] if not word.startswith("-")]
    others = [service for service in services or rest if service not in {"odoo", "n8n"}]
    return " ".join([*words[:3], *(word for word in words[3:] if word.startswith("-")), *others]) if others else None


def spoken(title: str, beginning: str) -> str:
    """Returns the one command in the sentences of a section that begins with these words."""
    found = {" ".join(code.split()) for code in _parts(title, "spoken")}
    [command] = [code for code in found if code.startswith(beginning)]
    return command


def blocks(title: str, page: str) -> list[str]:
    """Returns the code blocks of a section of another page."""
    return _parts(title, "block", PAGE.with_name(page))


def _parts(title: str, kind: str, page: Path = PAGE) -> list[str]:
    """Returns the blocks, or what stands between backticks, under a heading."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for part in PARTS.finditer(page.read_text()):
        if part["title"]:
            current = sections.setdefault(part["title"], [])
        elif part[kind]:
            current.append(part[kind])
    assert title in sections, f"docs/{page.name} has no section {title!r}"
    return sections[title]
