"""The bridge's catalogue of models, as it is kept here: only what a form needs, and nothing that is not as agreed."""

import re
from dataclasses import dataclass

from .money import amount_text, matches, read_price

__all__ = ["UUID", "Catalogue", "read_catalogue"]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
RESOLUTION = re.compile(r"[1-9][0-9]{1,3}x[1-9][0-9]{1,3}")
STEPS, CFG = (1, 100), (0, 35)
"""Least and most that any model can have."""
MAX_NAME, MAX_TEXT = 200, 2000


@dataclass(frozen=True)
class Catalogue:
    """The models by UUID. `offers` are those that people may use; the others are `inactive`, or `unreadable`."""

    offers: dict
    inactive: frozenset
    unreadable: frozenset

    @property
    def is_empty(self):
        """Return whether the bridge has no catalogue, and takes requests for any model."""
        return not (self.offers or self.inactive or self.unreadable)


def read_catalogue(body):
    """Return the catalogue in the bridge's answer, or None if it is no list of models."""
    items = body.get("items")
    if not isinstance(items, list):
        return None
    offers, inactive, unreadable = {}, set(), set()
    for item in (each if isinstance(each, dict) else {} for each in items):
        uuid = str(item.get("modelId")).lower()
        if not UUID.match(uuid) or not _text(item.get("name"), MAX_NAME):
            unreadable.add(uuid)
        elif item.get("active", True) is False:
            inactive.add(uuid)
        else:
            offers[uuid] = _offer(item)
    return Catalogue(offers, frozenset(inactive), frozenset(unreadable))


def _offer(item):
    """Return what a model offers, as JSON. A part that is missing, or not as agreed, is no rule."""
    supports = item.get("supports") if isinstance(item.get("supports"), dict) else {}
    price = read_price(item.get("price"))
    offer = {
        "name": _text(item["name"], MAX_NAME),
        "description": _text(item.get("description"), MAX_TEXT),
        "negativePrompt": supports.get("negativePrompt") is True,
        "seed": supports.get("seed") is not False,
        "steps": _range(item.get("steps"), STEPS),
        "cfgScale": _range(item.get("cfgScale"), CFG),
        "resolutions": _resolutions(item.get("resolutions")),
        "price": price and {"amount": amount_text(price.amount), "currency": price.currency, "per": price.per},
    }
    return {name: value for name, value in offer.items() if value is not None}


def _range(given, limits):
    """Return least, most and default, or None."""
    numbers = [given.get(name) if isinstance(given, dict) else None for name in ("min", "max", "default")]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return None
    least, most, default = numbers
    return numbers if limits[0] <= least <= default <= most <= limits[1] else None


def _resolutions(given):
    given = given if isinstance(given, list) else []
    return [each for each in given if matches(RESOLUTION, each)] or None


def _text(value, longest):
    return value.replace("\0", "").strip()[:longest] or None if isinstance(value, str) else None
