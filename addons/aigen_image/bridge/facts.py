"""How a picture is being made, and how it was made, as the bridge reports. A wrong value is left out, never refused."""

import re

from .money import AMOUNT, CURRENCY, matches

__all__ = ["read_made", "read_progress", "read_resent"]

STAGES = frozenset({"queued", "generating", "finishing"})
NEGATIVE_PROMPT_USES = frozenset({"used", "folded", "ignored"})
COST_BASES = frozenset({"billed", "estimated"})
MARKINGS = frozenset({"c2pa", "metadata"})
SHA256 = re.compile(r"[0-9a-f]{64}")
COST_FIELDS = ("cost_amount", "cost_currency", "cost_basis", "cost_further")
MAX_NAME = 200
MAX_MARKS = 20
MAX_INTEGER = 2**31 - 1
"""The largest value of an Odoo Integer field."""
MAX_SEED = 2**63 - 1
MAX_SECONDS = 1e15
"""The bridge sends no larger number, and a float column cannot hold a whole number of any size."""


def read_progress(reported):
    """Return `{stage, queuePosition?, percent?}`, or None if the stage is not known. The percent is a whole number."""
    reported = _object(reported)
    stage = _one_of(reported.get("stage"), STAGES)
    if not stage:
        return None
    percent = _number(reported.get("percent"), 100)
    numbers = {
        "queuePosition": _whole(reported.get("queuePosition"), MAX_INTEGER) if stage == "queued" else None,
        "percent": None if percent is None else int(percent),
    }
    return {"stage": stage} | {name: number for name, number in numbers.items() if number is not None}


def read_resent(generation):
    """Return how often the bridge sent the request to N8N again because its execution was lost."""
    return _whole(_object(generation).get("resent"), MAX_INTEGER) or 0


def read_made(payload):
    """Return what is known about how the picture was made, its cost and its marks: field of the record → value.

    The values of `generation` come all or none: one that is not known is False. Those of the cost likewise.
    """
    generation = _facts(_object(payload.get("generation")))
    known = generation if any(generation.values()) else {}
    return known | _costs(payload) | _marks(_object(payload.get("provenance")))


def _facts(reported):
    seed, seconds = _whole(reported.get("seed"), MAX_SEED), _number(reported.get("seconds"), MAX_SECONDS)
    concepts = reported.get("hasNsfwConcepts")
    return {
        "provider": _name(reported.get("provider")),
        "provider_model": _name(reported.get("model")),
        "provider_job": _name(reported.get("jobId")),
        "seed_used": False if seed is None else str(seed),
        "made_in": round(seconds or 0, 2),
        "negative_prompt_use": _one_of(reported.get("negativePrompt"), NEGATIVE_PROMPT_USES),
        "is_nsfw": isinstance(concepts, list) and any(concept is True for concept in concepts),
    }


def _costs(payload):
    """Return the fields of the cost, {} where the bridge says nothing.

    What it has booked (`charged`, an amount for each currency) counts more than what was reported: it knows what was
    paid twice, or without a report. If it has booked nothing, an estimate of before was taken back.
    """
    charged = payload.get("charged")
    booked = list(filter(None, map(_cost, charged))) if isinstance(charged, list) else []
    found = booked or list(filter(None, [_cost(payload.get("cost"))]))
    if not found:
        return dict.fromkeys(COST_FIELDS, False) if charged == [] else {}
    further = " + ".join(f"{cost['cost_amount']} {cost['cost_currency']}" for cost in found[1:])
    is_estimated = any(cost["cost_basis"] == "estimated" for cost in found)
    return found[0] | {"cost_basis": "estimated" if is_estimated else "billed", "cost_further": further or False}


def _cost(reported):
    """Return amount, currency and basis; {} without a valid amount and currency."""
    reported = _object(reported)
    amount, currency = reported.get("amount"), reported.get("currency")
    if not (matches(AMOUNT, amount) and matches(CURRENCY, currency)):
        return {}
    basis = _one_of(reported.get("basis"), COST_BASES) or "estimated"
    return {"cost_amount": amount, "cost_currency": currency, "cost_basis": basis}


def _marks(reported):
    """Return `provenance` (`{found, valid, marked}`) and `original_sha256`, each if it is known.

    `found` lists the marks in the bytes from the AI service, including unknown ones. `valid` is whether the C2PA
    manifest among them is valid, or None. `marked` is how the bridge marked the picture, or None.
    """
    found, valid = reported.get("found"), reported.get("valid")
    if not isinstance(found, list):
        return {}
    provenance = {
        "found": [name for name in map(_name, found[:MAX_MARKS]) if name],
        "valid": valid if isinstance(valid, bool) else None,
        "marked": _one_of(reported.get("marked"), MARKINGS) or None,
    }
    original = reported.get("originalSha256")
    return {"provenance": provenance} | ({"original_sha256": original} if matches(SHA256, original) else {})


def _object(reported):
    return reported if isinstance(reported, dict) else {}


def _one_of(value, known):
    return value if isinstance(value, str) and value in known else False


def _name(value):
    """Return the text without what PostgreSQL does not take: null characters and halves of surrogate pairs."""
    if not isinstance(value, str):
        return False
    return value.replace("\0", "").encode(errors="ignore").decode().strip()[:MAX_NAME]


def _number(value, maximum):
    """Return the number from 0 to the maximum, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= maximum else None


def _whole(value, maximum):
    """Return the whole number from 0 to the maximum, or None."""
    number = _number(value, maximum)
    return int(number) if number is not None and number == int(number) else None
