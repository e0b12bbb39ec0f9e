"""A visible label such as "AI-generated" in a corner of a picture, drawn on a copy."""

import io
import struct
import warnings

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, WebPImagePlugin

MOST_PIXELS = 50_000_000
"""As in Odoo's own images: a larger picture needs too much memory."""
FORMATS = ("PNG", "JPEG", WebPImagePlugin.WebPImageFile.format)
"""Odoo loads only some formats of Pillow. Importing WebP adds it; Odoo's own code leaves WebP files as they are."""
CORNERS = {"top_left": (0, 0), "top_right": (1, 0), "bottom_left": (0, 1), "bottom_right": (1, 1)}
"""Which part of the room that is left stands before the label."""
BLACK = {"L": 0, "LA": (0, 255), "RGB": (0, 0, 0), "RGBA": (0, 0, 0, 255), "CMYK": (0, 0, 0, 255)}
WHITE = {"L": 255, "LA": (255, 255), "RGB": (255, 255, 255), "RGBA": (255, 255, 255, 255), "CMYK": (0, 0, 0, 0)}
"""By the modes that a label is drawn in. Others are converted."""
TURNS = {
    2: Image.FLIP_LEFT_RIGHT,
    3: Image.ROTATE_180,
    4: Image.FLIP_TOP_BOTTOM,
    5: Image.TRANSPOSE,
    6: Image.ROTATE_270,
    7: Image.TRANSVERSE,
    8: Image.ROTATE_90,
}
"""By the EXIF's orientation: what makes the image stand upright."""
BOX = 184
"""Opacity of the label's box, of 255. White letters stay readable on a white picture."""
SMALLEST = 12
"""Pixels of the height of letters, where there is room for the text."""
XMP = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
"""IPTC's term for an image that a trained model generated. It replaces other metadata, which describe other bytes."""
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0" + XMP


def add_label(content, text, *, font, corner, percent):
    """Return a copy in the same format with the text in a corner. None if the bytes are damaged, too large or no image.

    The letters are `percent` of the shorter side high, or smaller where the text would not fit. Kept are size, colors
    and the color profile. The copy stands upright, has eight bits for each color and the mark `XMP`, and nothing else
    of the metadata: no EXIF, and no signature, which would not be valid any more.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _label(content, text, font, corner, percent)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


def _label(content, text, font, corner, percent):
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        name, profile = image.format, image.info.get("icc_profile")
        copy = _drawable(_upright(image))
    copy.info = {}
    _draw(copy, text, font, CORNERS[corner], percent)
    return _save(copy, name, profile)


def _upright(image):
    """Return a copy as the EXIF says that the image is to be shown; as it is if the EXIF is damaged.

    Not by Pillow's `exif_transpose`: that also writes all the EXIF again, and fails in many ways where it is damaged.
    """
    try:
        turn = TURNS.get(image.getexif().get(0x112))
    except (SyntaxError, struct.error):
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


def _drawable(image):
    """Return the image in a mode that is drawn in."""
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow's own conversion makes them white
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in BLACK and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if "transparency" in image.info or "A" in image.mode else "RGB")


def _draw(image, text, font, corner, percent):
    sides = image.size
    height = min(max(SMALLEST, round(min(sides) * percent / 100)), max(1, sides[1] // 2))
    letters = ImageFont.truetype(font, height)
    wide = letters.getlength(text) + 2 * height
    if wide > sides[0]:
        height = max(1, int(height * sides[0] / wide))
        letters = ImageFont.truetype(font, height)
    size = (int(letters.getlength(text)) + height, height + height // 2 + 1)
    box, mask = Image.new("L", size), Image.new("L", size)
    ImageDraw.Draw(box).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), height // 4, fill=BOX)
    ImageDraw.Draw(mask).text((size[0] / 2, size[1] / 2), text, font=letters, fill=255, anchor="mm")
    margin = min(height // 2, *(max(0, side - used) // 2 for side, used in zip(sides, size, strict=True)))
    place = tuple(
        margin + part * (side - used - 2 * margin) for part, side, used in zip(corner, sides, size, strict=True)
    )
    image.paste(BLACK[image.mode], place, box)
    image.paste(WHITE[image.mode], place, mask)


def _save(image, name, profile):
    file = io.BytesIO()
    if name == "PNG":
        xmp = PngImagePlugin.PngInfo()
        xmp.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(file, name, pnginfo=xmp, icc_profile=profile)
    elif name == "WEBP":
        image.save(file, name, quality=95, icc_profile=profile, xmp=XMP)
    else:
        image.save(file, name, quality=95, subsampling=0, icc_profile=profile)
        return _with_jpeg_xmp(file.getvalue())
    return file.getvalue()


def _with_jpeg_xmp(content):
    """Return the JPEG with the mark after its first segment. Odoo's Pillow may be too old to write it."""
    end = 4 + int.from_bytes(content[4:6], "big")
    return content[:end] + b"\xff\xe1" + (len(JPEG_XMP) + 2).to_bytes(2, "big") + JPEG_XMP + content[end:]


def missing_characters(text, font):
    """Return the characters of the text that the font does not have."""
    letters = ImageFont.truetype(font, 20)
    unknown = bytes(letters.getmask("\uffff"))
    return "".join(one for one in dict.fromkeys(text) if not one.isspace() and bytes(letters.getmask(one)) == unknown)
