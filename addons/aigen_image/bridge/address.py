from urllib.parse import urlsplit

__all__ = ["WrongAddress", "checked_url"]


class WrongAddress(ValueError):  # noqa: N818 - it is no failure of ours
    """Why an address cannot be the bridge's. `reason` is a stable name: scheme, host, credentials, port or more."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


def checked_url(text):
    """Return the bridge's address without a slash at its end.

    Raises `WrongAddress` for what is no plain http(s) address: user names and queries would end up in logs.
    """
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError:
        raise WrongAddress("port") from None
    if parts.scheme not in {"http", "https"}:
        raise WrongAddress("scheme")
    if not parts.hostname or any(character.isspace() for character in text.strip()):
        raise WrongAddress("host")
    if "@" in parts.netloc:
        raise WrongAddress("credentials")
    if parts.query or parts.fragment:
        raise WrongAddress("more")
    return parts.geturl().rstrip("/")
