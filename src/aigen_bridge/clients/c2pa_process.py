"""`python -m aigen_bridge.clients.c2pa_process`: a process that signs or validates one image with C2PA's library.

The library is native code without deadlines. It parses manifests from outside, which may take 40 times their size in
memory, and waits for a timestamp service without a limit. In a process of its own it has limits, and exceeding them
does not harm the bridge.

Input: a line of JSON (`request`) and the image. Output: a line of JSON (`reply`) and, after signing, the signed image.
"""

import json
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import c2pa

TINY_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)
"""One pixel."""
USAGES = (
    *("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36"),  # e-mail protection, document signing
    *("1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.311.76.59.1.9"),  # C2PA claim signing, and Microsoft's
    *("1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9"),  # of timestamps and of OCSP
)
"""The extended key usages that C2PA allows (C2PA 2.2, 14.5.1). The library's own default is the first one."""
# There is no list of trusted certificates, neither for signers nor for timestamp services.
SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    "core": {"allowed_network_hosts": []},
    "trust": {"trust_config": "\n".join(USAGES)},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_timestamp_trust": False},
}
MEMORY, MEMORY_PER_BYTE = 1 << 30, 8
"""Bytes of address space: a fixed amount, and more for each byte of input."""
OOM_SCORE = Path("/proc/self/oom_score_adj")
TEXT_MAX, CHAIN_MAX = 200, 10

Request = Mapping[str, Any]


def main() -> None:
    """Answers the request on standard input, within limits."""
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["seconds"], request["size"])
    content = sys.stdin.buffer.read(request["size"])
    reply, signed = answer(request, content)
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n" + signed)


def answer(request: Request, content: bytes) -> tuple[Any, bytes]:
    """Returns the reply and, after signing, the signed image."""
    return _sign(request, content) if request["action"] == "sign" else (_validate(request, content), b"")


def _limit(seconds: float, size: int) -> None:
    """Ends this process after the deadline, whether the bridge still waits for it or not."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    memory = MEMORY + MEMORY_PER_BYTE * size
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the key is in the memory
    with suppress(OSError):  # Linux only
        OOM_SCORE.write_text("1000")  # if the machine runs out of memory, this process is killed, not the bridge


def _sign(request: Request, content: bytes) -> tuple[dict[str, str], bytes]:
    try:
        return {}, _signed(request, content)
    except c2pa.C2paError as error:
        fault, cause = _fault(request, content) or ("timestamp" if request["timestamp_url"] else "image", error)
        return {"fault": fault, "detail": str(cause)}, b""


def _fault(request: Request, content: bytes) -> tuple[str, c2pa.C2paError] | None:
    """Signs without a timestamp, first another image, then this one. Returns what fails, or None if both work."""
    request = {**request, "timestamp_url": None}
    sample = {**request, "format": "png", "created": request["sample"]}
    for fault, asked, image in (("certificate", sample, TINY_PNG), ("image", request, content)):
        try:
            _signed(asked, image)
        except c2pa.C2paError as error:
            return fault, error
    return None


def _signed(request: Request, content: bytes) -> bytes:
    """Signs the image. A manifest that it has becomes an ingredient, with all of its own ingredients."""
    media_type, timestamp_url = f"image/{request['format']}", request["timestamp_url"]
    opened = _has_manifest(content, media_type)
    builder = c2pa.Builder(request["opened" if opened else "created"], context=_context())
    if opened:
        builder.add_ingredient(request["ingredient"], media_type, BytesIO(content))
    names = (request["algorithm"], request["certificate"], request["key"])
    signer = c2pa.C2paSignerInfo(*(name.encode() for name in names), timestamp_url and timestamp_url.encode())
    signed = BytesIO()
    builder.sign(c2pa.Signer.from_info(signer), media_type, BytesIO(content), signed)
    return signed.getvalue()


def _has_manifest(content: bytes, media_type: str) -> bool:
    try:
        c2pa.Reader(media_type, BytesIO(content), context=_context())
    except c2pa.C2paError.ManifestNotFound:
        return False
    except c2pa.C2paError:
        return True
    return True


def _validate(request: Request, content: bytes) -> dict[str, Any] | None:
    """Returns the fields of `Validation`, or None for an image without a manifest."""
    try:
        reader = c2pa.Reader(f"image/{request['format']}", BytesIO(content), context=_context())
        found = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return {"valid": False, "failures": [str(error)[:TEXT_MAX]], "chain": []}
    return {
        "valid": found.get("validation_state") in {"Valid", "Trusted"},
        "failures": _failures(found),
        "chain": list(_chain(found)),
    }


def _chain(found: Any) -> Iterator[dict[str, Any]]:
    """Yields the manifests of the image, the latest first, each followed by that of the image it was made from."""
    label, failures = found.get("active_manifest"), _failures(found)
    for _ in range(CHAIN_MAX):
        manifest = _at(found, "manifests", label)
        if not manifest:
            return
        yield _described(manifest) | {"failures": failures}
        parent = next((it for it in _items(manifest, "ingredients") if _at(it, "relationship") == "parentOf"), None)
        label, failures = _at(parent, "active_manifest"), _failures(parent)


def _described(manifest: Any) -> dict[str, Any]:
    generator = next(_items(manifest, "claim_generator_info"), None)
    software = (_at(generator, "name") or _at(manifest, "claim_generator"), _at(generator, "version"))
    signer = (_at(manifest, "signature_info", "common_name"), _at(manifest, "signature_info", "issuer"))
    return {
        "signer": _joined(", ", *signer),
        "software": _joined(" ", *software),
        "timestamp": _joined("", _at(manifest, "signature_info", "time")),
        "source_types": _source_types(manifest),
    }


def _source_types(manifest: Any) -> list[str]:
    """Returns IPTC's terms for the kind of source, which C2PA's actions name."""
    actions = [
        action
        for assertion in _items(manifest, "assertions")
        if str(_at(assertion, "label")).startswith("c2pa.actions")
        for action in _items(assertion, "data", "actions")
    ]
    return _unique(_at(action, "digitalSourceType") for action in actions)


def _failures(found: Any) -> list[str]:
    """Returns C2PA's codes of what is wrong, without "untrusted": no certificate is trusted here."""
    results = _at(found, "validation_results")
    failures = chain(
        _items(results, "activeManifest", "failure"),
        *(_items(delta, "validationDeltas", "failure") for delta in _items(results, "ingredientDeltas")),
    )
    codes = _unique(_at(failure, "code") for failure in failures)
    return [code for code in codes if code != "signingCredential.untrusted"]


def _unique(values: Iterator[Any]) -> list[str]:
    return list(dict.fromkeys(value[:TEXT_MAX] for value in values if isinstance(value, str)))[:CHAIN_MAX]


def _joined(separator: str, *values: Any) -> str | None:
    """Returns the texts among these, or None if none is a text."""
    return separator.join(_unique(iter(values))) or None


def _items(value: Any, *path: str) -> Iterator[Any]:
    items = _at(value, *path)
    return iter(items if isinstance(items, list) else ())


def _at(value: Any, *path: Any) -> Any:
    """Returns what is at this path in JSON from outside; None if nothing is."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _context() -> c2pa.Context:
    return c2pa.Context(c2pa.Settings.from_dict(SETTINGS))


if __name__ == "__main__":
    main()
