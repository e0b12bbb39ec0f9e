"""What one image file says about how it was made, in words for people."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigen_bridge.cli.terminal import beginning
from aigen_bridge.clients.credentials import Manifest, Validation, is_available, validate
from aigen_bridge.doctor.finding import size
from aigen_bridge.domain.image import MEDIA_TYPES, ODOO_IMAGE_MAX, read_metadata
from aigen_bridge.domain.image_content import describe
from aigen_bridge.domain.image_metadata import read_embedded
from aigen_bridge.domain.image_structure import StructureError
from aigen_bridge.domain.marks import find_marks
from aigen_bridge.domain.provenance import Mark
from aigen_bridge.domain.xmp import read_properties

INSTALL = "To validate it, install the extra 'marking': pip install 'aigen-bridge[marking]'."
SAYS_AI, SAYS_NOTHING = "says that AI made the image", "does not say that AI made the image"
PROPERTIES = {
    "Iptc4xmpExt:DigitalSourceType": "source type",
    "Iptc4xmpExt:AISystemUsed": "AI system",
    "xmp:CreatorTool": "creator tool",
}
"""The properties of XMP that are shown, in words."""
FAILURES = {
    "algorithm.unsupported": "it uses an unknown algorithm",
    "assertion.dataHash.mismatch": "the image was changed after it was signed",
    "assertion.hashedURI.mismatch": "the manifest was changed after it was signed",
    "assertion.missing": "a part of the manifest is missing",
    "claim.hardBindings.missing": "the manifest is not bound to an image",
    "claim.missing": "the manifest has no claim",
    "claimSignature.mismatch": "the signature does not fit the manifest",
    "claimSignature.missing": "the manifest is not signed",
    "claimSignature.outsideValidity": "the certificate was not valid when the image was signed",
    "ingredient.hashedURI.mismatch": "the manifest of an earlier image was changed",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate must not sign images",
    "signingCredential.ocsp.revoked": "the certificate was revoked",
    "signingCredential.revoked": "the certificate was revoked",
    "timeStamp.mismatch": "the timestamp does not fit the signature",
    "timeStamp.outsideValidity": "the certificate of the timestamp service was not valid",
}
"""C2PA's codes (C2PA 2.2, 15.2.2) and what they mean."""


class NotAnImageError(Exception):
    """The file cannot be read, or is not an image in an accepted format."""


@dataclass(frozen=True, slots=True)
class FileMarks:
    """What an image file says about how it was made. `xmp` are the properties in its XMP, `error` is what is damaged.

    `validation` is None without a manifest, and if nothing could validate it.
    """

    path: Path
    format: str
    size: int
    width: int
    height: int
    found: tuple[Mark, ...]
    xmp: Mapping[str, str]
    validation: Validation | None
    error: str | None = None

    @property
    def is_signed(self) -> bool:
        """Whether the image has a C2PA manifest."""
        return Mark.C2PA in self.found

    @property
    def is_broken(self) -> bool:
        """Whether the file is damaged, or its manifest is not valid. Without the library, nothing is known of it."""
        is_invalid = self.validation is None or not self.validation.valid
        return self.error is not None or (self.is_signed and is_available() and is_invalid)

    @property
    def says_generated(self) -> bool:
        """Whether the file carries a mark that says that AI made the image, and nothing in it is broken."""
        signed = self.validation is not None and self.validation.says_generated
        return not self.is_broken and (signed or Mark.DIGITAL_SOURCE_TYPE in self.found)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yields what the file carries, by name. All text is safe to print."""
        yield "image", f"{self.format}, {self.width}x{self.height}, {size(self.size)}"
        if self.error:
            yield "damaged", self.error
        yield from ((words, beginning(self.xmp[name])) for name, words in PROPERTIES.items() if name in self.xmp)
        if self.is_signed:
            yield from _manifest(self.validation)
        yield "result", self._result()

    def _result(self) -> str:
        if self.says_generated:
            return "marked as made by AI"
        return "not valid as a mark" if self.is_broken else "not marked as made by AI"

    def as_json(self) -> dict[str, Any]:
        """Returns the same for programs."""
        return {
            "file": str(self.path),
            **{name: getattr(self, name) for name in ("format", "size", "width", "height", "found", "error")},
            "xmp": dict(self.xmp),
            "c2pa": _as_json(self.validation) if self.validation else None,
            "saysGenerated": self.says_generated,
        }


def read_marks(path: Path) -> FileMarks:
    """Reads the marks of an image file, and validates a manifest. Raises `NotAnImageError`."""
    content = _content(path)
    metadata = read_metadata(content)
    if metadata is None:
        raise NotAnImageError(f"is {describe(content)}, not an image in one of the formats {', '.join(MEDIA_TYPES)}")
    image_format, error, packet = metadata.format, None, None
    try:
        packet = read_embedded(content, image_format).xmp
    except StructureError as broken:
        error = f"the image {broken}"
    found = find_marks(content, image_format)
    validation = validate(content, image_format) if Mark.C2PA in found else None
    described = (metadata.width, metadata.height, found, read_properties(packet or b""), validation, error)
    return FileMarks(path, image_format, len(content), *described)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise NotAnImageError("is not a file" if path.exists() else "does not exist")
        if path.stat().st_size > ODOO_IMAGE_MAX:
            raise NotAnImageError(f"is larger than {size(ODOO_IMAGE_MAX)}")
        return path.read_bytes()
    except OSError as error:
        raise NotAnImageError(f"cannot be read: {error.strerror}") from error


def _manifest(validation: Validation | None) -> Iterator[tuple[str, str]]:
    if validation is None:
        cause = "C2PA's library could not read it, or did not finish." if is_available() else INSTALL
        yield "C2PA", f"there is a manifest, which was not validated. {cause}"
        return
    valid = "valid: intact and signed correctly; whether others trust the signer is not examined"
    yield "C2PA", valid if validation.valid else f"NOT VALID: {_meanings(validation.failures)}"
    for number, manifest in enumerate(validation.chain):
        yield ("made from" if number else "manifest"), _described(manifest)


def _described(manifest: Manifest) -> str:
    says = SAYS_AI if manifest.says_generated else SAYS_NOTHING
    time = f"at {manifest.timestamp} (timestamp)" if manifest.timestamp else "without a timestamp"
    signer = manifest.signer or "an unknown signer"
    parts = [f"signed by {signer}, {time}", f"written by {manifest.software or '-'}", says]
    return "; ".join([*parts, *([f"NOT VALID: {_meanings(manifest.failures)}"] if manifest.failures else [])])


def _meanings(codes: Iterable[str]) -> str:
    return "; ".join(f"{FAILURES[code]} ({code})" if code in FAILURES else code for code in codes) or "no reason given"


def _as_json(validation: Validation) -> dict[str, Any]:
    chain = [
        {
            "signer": manifest.signer,
            "software": manifest.software,
            "timestamp": manifest.timestamp,
            "sourceTypes": manifest.source_types,
            "failures": manifest.failures,
        }
        for manifest in validation.chain
    ]
    return {"valid": validation.valid, "failures": validation.failures, "manifests": chain}
