"""Resolutions by shape and detail, in pixels. Sides are multiples of 16, as Flux needs; no ratio is off by over 4 %."""

from math import log

__all__ = ["SIZES", "sizes"]

LANDSCAPES = {
    "1:1": {"preview": "512x512", "standard": "1024x1024", "large": "1440x1440"},
    "4:3": {"preview": "576x448", "standard": "1152x864", "large": "1664x1248"},
    "3:2": {"preview": "624x416", "standard": "1248x832", "large": "1728x1152"},
    "16:9": {"preview": "672x384", "standard": "1344x768", "large": "1920x1088"},
    "21:9": {"preview": "768x320", "standard": "1536x656", "large": "2176x928"},
}
PORTRAITS = {"4:3": "3:4", "3:2": "2:3", "16:9": "9:16"}
RATIO_TOLERANCE = 0.04
"""As the bridge compares a resolution with the aspect ratio: models round their sides."""


def _turned(resolution):
    return "x".join(reversed(resolution.split("x")))


SIZES = LANDSCAPES | {
    portrait: {detail: _turned(resolution) for detail, resolution in LANDSCAPES[landscape].items()}
    for landscape, portrait in PORTRAITS.items()
}
"""Shape → detail → WIDTHxHEIGHT."""


def sizes(offered=None):
    """Return what a person can choose: shape → detail → WIDTHxHEIGHT.

    `offered` are the only resolutions that a model takes; None: any. Each of them is the detail whose usual resolution
    has the most similar number of pixels. One whose ratio is that of no shape cannot be chosen.
    """
    if offered is None:
        return SIZES
    found = {shape: _details(shape, [each for each in offered if _has_ratio(each, shape)]) for shape in SIZES}
    return {shape: details for shape, details in found.items() if details}


def _details(shape, offered):
    """Return detail → resolution, in the usual order, of the resolutions of one shape."""
    found = {}
    for detail, usual in SIZES[shape].items():
        mine = [each for each in offered if _nearest(each, SIZES[shape]) == detail]
        if mine:
            found[detail] = min(mine, key=lambda each: _difference(each, usual))
    return found


def _nearest(resolution, usual):
    return min(usual, key=lambda detail: _difference(resolution, usual[detail]))


def _difference(one, other):
    """Return how much the numbers of pixels differ, as a factor: twice as many is as far as half as many."""
    return abs(log(_pixels(one) / _pixels(other)))


def _pixels(resolution):
    width, height = map(int, resolution.split("x"))
    return width * height


def _has_ratio(resolution, shape):
    width, height = map(int, resolution.split("x"))
    across, down = map(int, shape.split(":"))
    return abs(width * down / (height * across) - 1) <= RATIO_TOLERANCE
