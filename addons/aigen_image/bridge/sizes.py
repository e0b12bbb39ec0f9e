"""Resolutions by shape and detail, in pixels. Sides are multiples of 16, as Flux needs; no ratio is off by over 4 %."""

__all__ = ["resolution"]

RESOLUTIONS = {
    "1:1": {"preview": "512x512", "standard": "1024x1024", "large": "1440x1440"},
    "4:3": {"preview": "576x448", "standard": "1152x864", "large": "1664x1248"},
    "3:2": {"preview": "624x416", "standard": "1248x832", "large": "1728x1152"},
    "16:9": {"preview": "672x384", "standard": "1344x768", "large": "1920x1088"},
    "21:9": {"preview": "768x320", "standard": "1536x656", "large": "2176x928"},
}


def resolution(shape, detail):
    """Return WIDTHxHEIGHT. A portrait shape is its landscape turned round."""
    if shape in RESOLUTIONS:
        return RESOLUTIONS[shape][detail]
    turned = ":".join(reversed(shape.split(":")))
    return "x".join(reversed(RESOLUTIONS[turned][detail].split("x")))
