"""Addresses that browsers send along. Anybody can write anything into them."""

from urllib.parse import SplitResult, urlsplit

NONE = SplitResult("", "", "", "", "")


def split(address: str) -> SplitResult:
    """Returns the parts of an address; all are empty if it is none, such as `http://[`."""
    try:
        return urlsplit(address)
    except ValueError:
        return NONE


def own_path(wanted: str) -> str:
    """Returns a path if it leads to a page of this console, otherwise that of its first page."""
    parts = split(wanted)
    is_own = not parts.scheme and not parts.netloc and f"{parts.path}/".startswith("/console/")
    is_plain = "\\" not in wanted and wanted.isprintable() and "//" not in parts.path and ".." not in parts.path
    return wanted if is_own and is_plain else "/console"
