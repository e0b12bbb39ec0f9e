"""Content credentials: C2PA manifests."""


def is_valid(content: bytes, image_format: str) -> bool | None:
    """Returns whether the manifest is valid."""
    return None
