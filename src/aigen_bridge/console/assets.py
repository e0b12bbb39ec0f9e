"""The script, the styles and the icon of the console, under addresses that change with their content."""

import hashlib
from importlib.resources import files

FILES = {
    each.name: each.read_bytes() for each in (files("aigen_bridge.console") / "static").iterdir() if each.is_file()
}
DIGEST = hashlib.sha256(b"".join(FILES[name] for name in sorted(FILES))).hexdigest()[:12]


def static_url(name: str) -> str:
    """Returns the address of a file. Raises `LookupError` if there is none."""
    if name not in FILES:
        raise LookupError(name)
    return f"/console/static/{DIGEST}/{name}"
