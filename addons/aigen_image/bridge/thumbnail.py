"""A small copy of a picture."""

import io

from .pixels import convert

SIDE = 512
FORMATS = ("PNG", "JPEG")
"""Odoo has Pillow read these. A WebP is small already, and browsers get it as it is."""
OPAQUE = 255


def make_thumbnail(content):
    """Return a copy of at most 512 px each side: a JPEG, or a PNG if something shines through.

    None if these bytes are no PNG or JPEG, damaged, or a picture that is too large.
    """
    return convert(content, FORMATS, _shrink)


def _shrink(image):
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
