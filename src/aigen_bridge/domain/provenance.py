"""Where an image comes from, as its bytes say: the marks that were found in it, and the one that the bridge added."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for an image that a trained model generated."""


class Mark(StrEnum):
    """A machine-readable mark in an image."""

    C2PA = "c2pa"
    """A C2PA manifest: who signed what about the image."""

    DIGITAL_SOURCE_TYPE = "digitalSourceType"
    """IPTC's `DigitalSourceType` in the XMP, with a term for images that were generated, at least in part."""


class MarkingMode(StrEnum):
    """What the bridge adds to an image."""

    OFF = "off"
    """Nothing. Marks that came with the image are still reported."""

    METADATA = "metadata"
    """XMP with IPTC's `DigitalSourceType`."""

    C2PA = "c2pa"
    """A signed C2PA manifest, and the XMP unless the image was already signed."""


class OnFailure(StrEnum):
    """What becomes of an image that could not be marked."""

    DELIVER = "deliver"
    """It is delivered without a mark, and an incident is recorded."""

    HOLD = "hold"
    """It is kept until it can be marked."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of an image's marks.

    `found` are the marks in the bytes that came. `valid` says whether the C2PA manifest among them is intact and signed
    correctly, whoever signed it; None without a manifest, or if nothing could validate it. `marked` is how the bridge
    marked it. `original_sha256` is the hash of the bytes that came (lower-case hex), before any mark was added.
    """

    found: tuple[Mark, ...]
    valid: bool | None
    marked: MarkingMode | None
    original_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a mark says about how an image was generated.

    `model` and `provider` are names for people; None if they are not known. `prompt` and `user_id` are None unless the
    settings allow them in the mark.
    """

    generated_at: datetime
    model: str | None = None
    provider: str | None = None
    prompt: str | None = None
    user_id: str | None = None
