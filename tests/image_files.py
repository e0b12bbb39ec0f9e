"""Small image files, built by hand or by Pillow."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageCms

from aigen_bridge.domain import image_jpeg, image_png, image_webp
from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image import check, read_metadata

LIGHTHOUSE = (Path(__file__).parent / "lighthouse.png").read_bytes()
PICTURE = Image.effect_noise((45, 31), 60).convert("RGB")
"""Sides that fill no block of any format."""


def encoded(format_name: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    target = BytesIO()
    picture.save(target, format_name, **options)
    return target.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def header(*, width: int = 4, height: int = 4, depth: int = 8, colour: int = 2, methods: bytes = bytes(3)) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + methods)


def corrupt(a_chunk: bytes) -> bytes:
    """The chunk with a wrong checksum."""
    return a_chunk[:-1] + bytes([a_chunk[-1] ^ 1])


def png(*chunks: bytes, first: bytes | None = None, last: bytes = chunk(b"IEND", b"")) -> bytes:
    return image_png.SIGNATURE + (first or header()) + b"".join(chunks) + last


ROWS = bytes(4 * (1 + 4 * 3))
PIXELS = chunk(b"IDAT", zlib.compress(ROWS))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(n + struct.pack("<I", len(b)) + b + bytes(len(b) % 2) for n, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    return [(c.name, content[c.start : c.end]) for c in image_webp.read_chunks(content)]


LOSSLESS = riff_chunks(encoded("WEBP", lossless=True))[0]
LOSSY = riff_chunks(encoded("WEBP"))[0]


def canvas(width: int = 45, height: int = 31, flags: int = 0) -> tuple[bytes, bytes]:
    sides = [(side - 1).to_bytes(3, "little") for side in (width, height)]
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides[0] + sides[1]


SHOWN = {
    "a byte behind the zlib stream": png(chunk(b"IDAT", zlib.compress(ROWS) + b"x")),
    "many bytes behind it, in a chunk of their own": png(PIXELS, chunk(b"IDAT", b"PK\3\4" * 99)),
    "a few pixels too many": png(chunk(b"IDAT", zlib.compress(ROWS + bytes(9)))),
    "a zlib stream without its checksum": png(chunk(b"IDAT", zlib.compress(ROWS)[:-4])),
    "a zlib stream with a part of it": png(chunk(b"IDAT", zlib.compress(ROWS)[:-1])),
    "a second zlib stream": png(PIXELS, chunk(b"tEXt", b"a\0b"), PIXELS),
    "no last chunk": png(PIXELS, last=b""),
    "no last chunk, and padding": png(PIXELS, last=b"") + b"\n",
    "a last chunk with content": png(PIXELS, last=chunk(b"IEND", b"x")),
    "a text with a wrong checksum behind the pixels": png(PIXELS, corrupt(chunk(b"tEXt", b"a\0b"))),
    "a palette for grey": png(
        chunk(b"PLTE", bytes(3)), chunk(b"IDAT", zlib.compress(bytes(20))), first=header(colour=0)
    ),
    "a palette behind the pixels": png(PIXELS, chunk(b"PLTE", bytes(3))),
    "a suggested palette of a wrong size": png(chunk(b"PLTE", bytes(4)), PIXELS),
    "zeros behind the end": png(PIXELS) + bytes(500),
    "a line behind the end": png(PIXELS) + b"\r\n",
}


def jpeg_with(change: Callable[[list[bytes]], Iterable[bytes]]) -> bytes:
    """The pieces of a small JPEG, changed: 0 start, then one a segment, its end last."""
    content = encoded("JPEG", PICTURE.convert("L"))
    begins = [0, *(segment.begin for segment in image_jpeg.read_segments(content)), len(content)]
    return b"".join(change([content[a:b] for a, b in pairwise(begins)]))


def interlaced(depth: int = 16, colour: int = 2) -> bytes:
    """A PNG of zeros, 13 by 11 pixels, interlaced."""
    first = header(width=13, height=11, depth=depth, colour=colour, methods=b"\0\0\1")
    palette = [chunk(b"PLTE", bytes(6))] if colour == 3 else []
    size = image_png._header(png(first=first)).raw_bytes()
    return png(*palette, chunk(b"IDAT", zlib.compress(bytes(size))), first=first)


def _transparent() -> Image.Image:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(PICTURE.convert("L"))
    return picture


CMYK, GREY, TRANSPARENT = PICTURE.convert("CMYK"), PICTURE.convert("L"), _transparent()

FLAVOURS: dict[str, tuple[str, bytes]] = {
    **{f"PNG {mode}": ("png", encoded("PNG", PICTURE.convert(mode))) for mode in ["1", "L", "P", "RGB", "LA"]},
    "PNG RGBA": ("png", encoded("PNG", TRANSPARENT)),
    "PNG I;16": ("png", encoded("PNG", GREY.convert("I;16"))),
    "PNG with a transparent colour": ("png", encoded("PNG", PICTURE.convert("P"), transparency=3)),
    "PNG interlaced": ("png", interlaced()),
    "PNG interlaced, with a palette": ("png", interlaced(depth=2, colour=3)),
    **{f"PNG with {oddity}": ("png", content) for oddity, content in SHOWN.items()},
    "JPEG": ("jpeg", encoded("JPEG")),
    "JPEG grey": ("jpeg", encoded("JPEG", GREY)),
    "JPEG progressive": ("jpeg", encoded("JPEG", progressive=True)),
    "JPEG progressive CMYK": ("jpeg", encoded("JPEG", CMYK, progressive=True)),
    "JPEG CMYK": ("jpeg", encoded("JPEG", CMYK)),
    "JPEG with restart markers": ("jpeg", encoded("JPEG", restart_marker_blocks=1)),
    "JPEG with fill bytes": ("jpeg", jpeg_with(lambda p: [p[0], *(b"\xff\xff" + s for s in p[1:])])),
    "JPEG with bytes between segments": ("jpeg", jpeg_with(lambda p: [p[0], p[1] + b"PK", *p[2:]])),
    "JPEG without JFIF": ("jpeg", jpeg_with(lambda p: [p[0], *p[2:]])),
    "JPEG with padding": ("jpeg", encoded("JPEG") + bytes(9)),
    "WebP lossy": ("webp", encoded("WEBP")),
    "WebP lossless": ("webp", encoded("WEBP", lossless=True)),
    "WebP lossless with alpha": ("webp", encoded("WEBP", TRANSPARENT, lossless=True)),
    "WebP lossy with alpha": ("webp", encoded("WEBP", TRANSPARENT)),
    "WebP with padding": ("webp", encoded("WEBP") + bytes(7)),
    "WebP with an unknown chunk": ("webp", riff(LOSSLESS, (b"teSt", b"odd"))),
    "WebP extended with an unknown chunk": ("webp", riff(canvas(), LOSSY, (b"teSt", b"odd"), (b"EXIF", b"odd"))),
}
"""Name -> format and content: what the checks accept."""

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Somebody"
    return exif.tobytes()


EXIF = _exif()
XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"


def manifest_store(size: int = 999) -> bytes:
    """A box of the type of a C2PA manifest store. There is nothing in it but zeros."""
    label = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71\x03c2pa\0"
    description = (len(label) + 4).to_bytes(4, "big") + label
    content = (size - len(description) - 8).to_bytes(4, "big") + b"free"
    return size.to_bytes(4, "big") + b"jumb" + (description + content).ljust(size - 8, b"\0")


def manifest_segments(store: bytes) -> bytes:
    """The APP11 segments of a JPEG with this store in it. Each repeats the first eight bytes, the header of the box."""
    parts = [store[at : at + 65000] for at in range(8, len(store), 65000)]
    return b"".join(
        segment(0xEB, b"JP\2\x11" + number.to_bytes(4, "big") + store[:8] + part)
        for number, part in enumerate(parts, 1)
    )


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def text_chunk(packet: bytes, *, compressed: bool = False) -> bytes:
    """The chunk of a PNG with this XMP packet."""
    text = zlib.compress(packet) if compressed else packet
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compressed, 0]) + b"de\0Titel\0" + text)


Metadata = Mapping[str, bytes]
"""`icc`, `exif`, `xmp`, `manifest` -> its content; `packed` is XMP that a PNG compresses."""


def carrying(image_format: str, content: bytes, metadata: Metadata) -> bytes:
    """The image with this metadata, in the order that its format recommends."""
    return {"png": _png_carrying, "jpeg": _jpeg_carrying, "webp": _webp_carrying}[image_format](content, metadata)


def _png_carrying(content: bytes, metadata: Metadata) -> bytes:
    chunks = {
        "icc": lambda icc: chunk(b"iCCP", b"x\0\0" + zlib.compress(icc)),
        "exif": lambda exif: chunk(b"eXIf", exif[6:]),
        "xmp": text_chunk,
        "packed": lambda packet: text_chunk(packet, compressed=True),
        "manifest": lambda store: chunk(b"caBX", store),
    }
    return content[:33] + b"".join(chunks[kind](body) for kind, body in metadata.items()) + content[33:]


def _jpeg_carrying(content: bytes, metadata: Metadata) -> bytes:
    segments = {
        "exif": lambda exif: segment(0xE1, exif),
        "icc": lambda icc: segment(0xE2, b"ICC_PROFILE\0\1\1" + icc),
        "xmp": lambda packet: segment(0xE1, XMP_OF_JPEG + packet),
        "packed": lambda packet: segment(0xE1, XMP_OF_JPEG + packet),
        "manifest": manifest_segments,
    }
    start = 20 if content[2:4] == b"\xff\xe0" else 2
    return content[:start] + b"".join(segments[kind](body) for kind, body in metadata.items()) + content[start:]


def _webp_carrying(content: bytes, metadata: Metadata) -> bytes:
    chunks = {
        "exif": (0x08, b"EXIF"),
        "icc": (0x20, b"ICCP"),
        "xmp": (0x04, b"XMP "),
        "packed": (0x04, b"XMP "),
        "manifest": (0, b"C2PA"),
    }
    if not metadata:
        return content
    own = riff_chunks(content)
    if own[0][0] != b"VP8X":
        alpha = own[0][1][4] & 0x10 if own[0][0] == b"VP8L" else 0
        own.insert(0, canvas(flags=alpha))
    flags = own[0][1][0] | sum({chunks[kind][0] for kind in metadata})
    own[0] = b"VP8X", bytes([flags]) + own[0][1][1:]
    named = {kind: (chunks[kind][1], body) for kind, body in metadata.items()}
    profile = [named.pop("icc")] if "icc" in named else []
    size = int.from_bytes(content[4:8], "little") + 8
    return riff(own[0], *profile, *own[1:], *named.values()) + content[size:]


def accept(content: bytes) -> None:
    """Checks the image as the bridge does. Raises `ImageRejectedError`."""
    found = read_metadata(content)
    if found is None:
        raise ImageRejectedError(("is no image",))
    check(content, found, hashlib.sha256(content).hexdigest())


def shown(content: bytes) -> tuple[Any, ...] | None:
    """What a viewer shows: mode, pixels and colours. None if Pillow refuses the file."""
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return None
    kept = {key: image.info.get(key) for key in ("icc_profile", "exif", "transparency", "gamma", "dpi")}
    return image.mode, image.size, image.tobytes(), image.getpalette(), kept
