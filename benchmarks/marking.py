"""Figure 15: marking an image of 1024 x 1024 pixels, in each format and mode, and validating its manifest.

CPU is that of this process and of the processes that it starts. The checks that every image passes are the measure:
marking by metadata must cost a fraction of them. Signing starts a process for each image, whose cost hardly depends on
the image.
"""

import asyncio
import hashlib
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from aigen_bridge.clients.credentials import is_valid
from aigen_bridge.clients.marking import Marker
from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.domain.image import MEDIA_TYPES, check, read_metadata
from aigen_bridge.domain.provenance import MarkingMode, Origin
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground

SIDE, TIMES = 1024, 20
METADATA_MOST, SIGNING_MOST_MS, ADDED_MOST = 0.5, 200, 8000
ORIGIN = Origin(generated_at=datetime(2026, 8, 1, tzinfo=UTC), model="FLUX 1.1 [pro]", provider="Black Forest Labs")


async def measure(_ground: Ground) -> Figure:
    """Measures CPU for each image, and bytes added to it."""
    with TemporaryDirectory() as folder:
        certificate, key = make_test_certificate(Path(folder), datetime.now(UTC))
        with (
            closing(_marker(MarkingMode.METADATA)) as metadata,
            closing(_marker(MarkingMode.C2PA, certificate, key)) as c2pa,
        ):
            found = {image_format: await _measured(image_format, metadata, c2pa) for image_format in MEDIA_TYPES}
    facts = {f"{image_format}, {name}": value for image_format, each in found.items() for name, value in each.items()}
    checks = [
        Check("metadata / checks, CPU", _most(found, "metadata / checks"), most=METADATA_MOST),
        Check("signing, CPU", _most(found, "signing, ms"), most=SIGNING_MOST_MS, unit="ms"),
        Check("signing a signed image, CPU", _most(found, "signing again, ms"), most=SIGNING_MOST_MS, unit="ms"),
        Check("validating, CPU", _most(found, "validating, ms"), most=SIGNING_MOST_MS, unit="ms"),
        Check("bytes added by signing", _most(found, "bytes of signature"), most=ADDED_MOST, unit="B"),
    ]
    return Figure(15, "marking", f"Marking an image of {SIDE} x {SIDE}", checks, facts)


def _marker(mode: MarkingMode, certificate: Path | None = None, key: Path | None = None) -> Marker:
    return Marker(mode=mode, certificate=certificate, key=key, timestamp_url=None, timeout=timedelta(seconds=5))


async def _measured(image_format: str, metadata: Marker, c2pa: Marker) -> dict[str, float]:
    content = _image(image_format)
    described = await _marked(metadata, content, image_format)
    signed = await _marked(c2pa, content, image_format)
    again = await _marked(c2pa, signed, image_format)
    checks = await _cpu(lambda: asyncio.to_thread(_check, content))
    metadata_cpu = await _cpu(lambda: metadata.mark(content, image_format, ORIGIN))
    return {
        "bytes": len(content),
        "bytes of metadata": len(described) - len(content),
        "bytes of signature": len(signed) - len(described),
        "bytes of signature, again": len(again) - len(signed),
        "checks, ms": checks * 1000,
        "metadata, ms": metadata_cpu * 1000,
        "metadata / checks": metadata_cpu / checks,
        "signing, ms": await _cpu(lambda: c2pa.mark(content, image_format, ORIGIN)) * 1000,
        "signing again, ms": await _cpu(lambda: c2pa.mark(signed, image_format, ORIGIN)) * 1000,
        "validating, ms": await _cpu(lambda: asyncio.to_thread(is_valid, signed, image_format)) * 1000,
    }


def _image(image_format: str) -> bytes:
    noise, target = Image.effect_noise((SIDE, SIDE), 60).convert("RGB"), BytesIO()
    noise.save(target, image_format)
    return target.getvalue()


def _check(content: bytes) -> None:
    found = read_metadata(content)
    assert found is not None
    check(content, found, hashlib.sha256(content).hexdigest())


async def _marked(marker: Marker, content: bytes, image_format: str) -> bytes:
    result = await marker.mark(content, image_format, ORIGIN)
    assert result is not None
    return result[0]


async def _cpu(call: Callable[[], Awaitable[object]]) -> float:
    """Returns the median of the processor seconds, user and system, of this process and those that it started."""
    spent = []
    for _ in range(TIMES):
        before = _spent()
        await call()
        spent.append(_spent() - before)
    return statistics.median(spent)


def _spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _most(found: dict[str, dict[str, float]], name: str) -> float:
    return max(each[name] for each in found.values())
