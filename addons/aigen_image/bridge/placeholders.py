"""Words in double braces that a person replaces: `a portrait of {{subject}}`."""

import re

__all__ = ["find_placeholders"]

PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s](?:[^{}]*[^{}\s])?)\s*\}\}")


def find_placeholders(*texts):
    """Return the names of the placeholders in these texts, each once, in their order."""
    return list(dict.fromkeys(name for text in texts for name in PLACEHOLDER.findall(text or "")))
