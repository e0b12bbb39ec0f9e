"""A small copy of a picture."""

import io
import warnings

from PIL import Image

SIDE = 512
MOST_PIXELS = 50_000_000
"""As in Odoo's own images: a larger picture needs too much memory."""
FORMATS = ("PNG", "JPEG")
"""Odoo has Pillow read these. A WebP is small already, and browsers get it as it is."""
OPAQUE = 255


def make_thumbnail(content):
    """Return a copy of at most 512 px each side: a JPEG, or a PNG if something shines through.

    None if these bytes are no PNG or JPEG, damaged, or a picture that is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _shrink(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


def _shrink(content):
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        image.draft("RGB", (SIDE, SIDE))
        image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
        file = io.BytesIO()
        if _shines_through(image):
            image.save(file, "PNG")
        else:
            image.convert("RGB").save(file, "JPEG", quality=80)
        return file.getvalue()


def _shines_through(image):
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    return image.convert("RGBA").getchannel("A").getextrema()[0] < OPAQUE
