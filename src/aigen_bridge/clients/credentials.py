"""Content credentials: C2PA manifests, signed and validated by C2PA's library in processes of their own.

The library is in the extra `marking`. Nothing is fetched but timestamps: neither remote manifests nor the revocation
status of certificates.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from typing import Any

from aigen_bridge import __version__
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.provenance import TRAINED_ALGORITHMIC_MEDIA, Origin
from aigen_bridge.domain.xmp import is_generated
from aigen_bridge.quoting import one_line

SOFTWARE = "aigen-bridge"
DEADLINE = timedelta(seconds=10)
"""For signing or validating an image, which takes 0.1 s, or 1 s for the largest. A timestamp has its own deadline."""
_LINE_MAX = 300
_NEEDED = re.compile(
    r"PATH|LD_LIBRARY_PATH|LANG|LC_\w+|TZ|PYTHON\w+|SSL_CERT_\w+|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy", re.ASCII
)
_PARENT = "parent"
"""What a manifest calls the ingredient that is the image with its earlier manifest."""


class Fault(StrEnum):
    """Why an image could not be signed."""

    CERTIFICATE = "certificate"
    """The certificate or its key: no image can be signed."""

    TIMESTAMP = "timestamp"
    """The timestamp service: no image can be signed."""

    IMAGE = "image"
    """This image, or the manifest that it already has."""

    UNFINISHED = "unfinished"
    """The process did not finish: it took too long or too much memory, or crashed."""


class SigningError(Exception):
    """An image could not be signed."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one manifest of an image says. All of it comes from outside.

    `signer` is the name in the certificate, `software` the claim generator, `source_types` are IPTC's terms (URLs).
    `timestamp` is the time of signing as a timestamp service says it (ISO 8601); None without one. `failures` are
    C2PA's codes: of the image's own manifest, what is wrong now; of an earlier one, what was wrong with it when the
    next one was signed.
    """

    signer: str | None
    software: str | None
    timestamp: str | None
    source_types: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def says_generated(self) -> bool:
        """Whether the manifest says that the image was generated, at least in part."""
        return any(map(is_generated, self.source_types))


@dataclass(frozen=True, slots=True)
class Validation:
    """What C2PA's library says of an image with a manifest.

    `valid`: the manifest is intact, belongs to this image and is signed correctly, whoever signed it. `failures` are
    C2PA's codes of what is wrong, or the library's message if the manifest cannot be read. `chain` are the image's own
    manifest and those of the images that it was made from, the latest first.
    """

    valid: bool
    failures: tuple[str, ...]
    chain: tuple[Manifest, ...]

    @property
    def says_generated(self) -> bool:
        """Whether a manifest says that the image was generated, at least in part."""
        return any(manifest.says_generated for manifest in self.chain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What images are signed with. `algorithm` is one of C2PA's names, such as `es256`. Certificate and key are PEM."""

    certificate: str
    key: str
    algorithm: str
    timestamp_url: str | None = None
    timestamp_deadline: timedelta = timedelta(0)

    def __repr__(self) -> str:
        return f"Credentials({self.algorithm})"


@cache
def is_available() -> bool:
    """Returns whether C2PA's library is installed."""
    return find_spec("c2pa") is not None


def is_valid(content: bytes, image_format: str) -> bool | None:
    """Returns whether the image's manifest is valid, as in `Validation`; None without one, or if nothing checked it."""
    validation = validate(content, image_format)
    return validation.valid if validation else None


def validate(content: bytes, image_format: str) -> Validation | None:
    """Validates the image's manifest. Takes 0.1 s.

    Returns None without the library, without a manifest, or if the library did not finish.
    """
    if not is_available():
        return None
    try:
        found, _ = _run({"action": "validate", "format": image_format}, content, DEADLINE)
    except SigningError:
        return None
    if not found:
        return None
    return Validation(found["valid"], _lines(found["failures"]), tuple(map(_manifest, found["chain"])))


def sign(content: bytes, image_format: str, origin: Origin, credentials: Credentials) -> bytes:
    """Adds a signed manifest that says how the image was generated. Takes 0.1 s, and the time for the timestamp.

    A manifest that the image already has becomes an ingredient: it stays in the image. Raises `SigningError`.
    """
    request = signing_request(image_format, origin, credentials)
    late = Fault.TIMESTAMP if credentials.timestamp_url else Fault.UNFINISHED
    reply, signed = _run(request, content, DEADLINE + credentials.timestamp_deadline, late)
    if reply:
        raise SigningError(Fault(reply["fault"]), _line(reply["detail"]))
    return signed


def signing_request(image_format: str, origin: Origin, credentials: Credentials) -> dict[str, Any]:
    """Returns what the process needs to sign an image.

    `created` and `opened` are the manifests for an image without one and for an image with one; `sample` is one that
    any image may have.
    """
    return {
        "action": "sign",
        "format": image_format,
        "created": _claim("c2pa.created", origin),
        "opened": _claim("c2pa.opened", origin),
        "ingredient": {"relationship": "parentOf", "instance_id": _PARENT},
        "sample": _claim("c2pa.created", Origin(generated_at=origin.generated_at)),
        "certificate": credentials.certificate,
        "key": credentials.key,
        "algorithm": credentials.algorithm,
        "timestamp_url": credentials.timestamp_url,
    }


def _claim(action: str, origin: Origin) -> dict[str, Any]:
    """Returns a manifest with this one action (C2PA 2.2, 18.15).

    An image without a manifest was `created` by the model. One with a manifest was `opened`, to say the same of it.
    """
    known = {"model": origin.model, "provider": origin.provider, "prompt": origin.prompt, "userId": origin.user_id}
    parameters: dict[str, Any] = {f"{SOFTWARE}.{name}": storable(text) for name, text in known.items() if text}
    described: dict[str, Any] = {
        "action": action,
        "when": origin.generated_at.astimezone(UTC).isoformat(timespec="seconds"),
        "digitalSourceType": TRAINED_ALGORITHMIC_MEDIA,
    }
    if action == "c2pa.opened":
        parameters["ingredientIds"] = [_PARENT]
    elif agent := origin.model or origin.provider:
        described["softwareAgent"] = {"name": storable(agent)}
    return {
        "claim_generator_info": [{"name": SOFTWARE, "version": __version__}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [described | {"parameters": parameters}]}},
        ],
    }


def _run(
    request: Mapping[str, Any], content: bytes, deadline: timedelta, late: Fault = Fault.UNFINISHED
) -> tuple[Any, bytes]:
    """Runs a process and returns its reply and an image. Raises `SigningError`, with the fault `late` if it is late."""
    seconds = deadline.total_seconds()
    header = json.dumps({**request, "seconds": seconds, "size": len(content)}).encode()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "aigen_bridge.clients.c2pa_process"],
            input=header + b"\n" + content,
            capture_output=True,
            check=True,
            timeout=seconds,
            env=_environment(),
            process_group=0,  # Ctrl-C ends the bridge, which finishes what it has begun
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _unfinished(error, seconds, late) from None
    reply, _, image = done.stdout.partition(b"\n")
    return json.loads(reply), image


def _environment() -> dict[str, str]:
    """Returns the variables for the process: only those that Python, TLS and proxies need, none of the bridge's own."""
    return {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}


def _unfinished(error: Exception, seconds: float, late: Fault) -> SigningError:
    code = error.returncode if isinstance(error, subprocess.CalledProcessError) else 0
    if isinstance(error, subprocess.TimeoutExpired) or code == -signal.SIGALRM:
        return SigningError(late, f"no answer within {seconds:g} s")
    detail = f"its process ended with {signal.Signals(-code).name}" if code < 0 else str(error)
    if isinstance(error, subprocess.CalledProcessError) and code > 0:
        detail = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return SigningError(Fault.UNFINISHED, _line(detail))


def _manifest(found: Mapping[str, Any]) -> Manifest:
    names = ("signer", "software", "timestamp")
    signer, software, timestamp = (found[name] and _line(found[name]) for name in names)
    return Manifest(signer, software, timestamp, _lines(found["source_types"]), _lines(found["failures"]))


def _lines(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_line, texts))


def _line(text: str) -> str:
    return one_line(text)[:_LINE_MAX]
