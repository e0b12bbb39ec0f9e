"""The commands of docs/deployment.md, section by section."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/deployment.md"


def commands(title: str) -> list[str]:
    """Returns the commands of all code blocks under a heading that mention docker, deploy or git, one for each line."""
    text = PAGE.read_text()
    section = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,3}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/deployment.md has no section {title!r}"
    blocks = re.findall(r"^```\w*\n(.*?)^```$", section[2], re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"\s+#\s.*|^#.*", "", line) for block in blocks for line in block.splitlines())
    return [line for line in lines if line.strip()]


def spoken(title: str, beginning: str) -> str:
    """Returns the one command in a section's sentences that begins with these words."""
    section = PAGE.read_text().split(f" {title}\n", 1)[1].split("\n## ", 1)[0]
    found = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", section.replace("```", ""))]
    [command] = dict.fromkeys(code for code in found if code.startswith(beginning))
    return command
