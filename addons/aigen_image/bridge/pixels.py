"""Reads images with Pillow, within limits."""

import io
import warnings

from PIL import Image

MOST_PIXELS = 50_000_000
"""The limit of Odoo's own images. Larger pictures need too much memory."""


def convert(content, formats, change):
    """Return `change(image)`, or None if the bytes are damaged, too large or not an image in one of the formats."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=formats) as image:
                return change(image) if image.width * image.height <= MOST_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None
