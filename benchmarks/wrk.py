"""Generates load with wrk in a separate process: one thread, a new id in every body. Every response must be a 2xx."""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

SCRIPT = Path(__file__).with_name("wrk.lua")
ID = b"@ID@"
"""Placeholder for the id in a body."""
KEY = "benchmark-key"


@dataclass(frozen=True, slots=True)
class Load:
    """wrk's measurements: responses per second, and response times in milliseconds."""

    per_second: float
    answers: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call to send; `body` contains `@ID@`."""

    url: str
    body: bytes
    content_type: str = "application/json"


def new_ids(many: int) -> list[str]:
    """Returns random ids, as Odoo makes them. Ascending ids would make every index look faster."""
    return [str(uuid4()) for _ in range(many)]


async def wrk(call: Call, ids: Sequence[str], *, callers: int, seconds: float) -> Load:
    """Sends calls for `seconds`. Raises `RuntimeError` when a response is not a 2xx or the ids do not suffice."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk, or brew install wrk.")
    with TemporaryDirectory(prefix="aigen-wrk-") as folder:
        body, known = Path(folder) / "body", Path(folder) / "ids"
        body.write_bytes(call.body)
        known.write_text("\n".join(ids))
        process = await asyncio.create_subprocess_exec(
            *("wrk", "--threads", "1", "--connections", str(callers), "--duration", f"{max(1, round(seconds))}s"),
            *("--timeout", "60s", "--script", str(SCRIPT), call.url),
            env=os.environ | {"BODY": str(body), "IDS": str(known), "CONTENT_TYPE": call.content_type, "API_KEY": KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    return _load(output, len(ids))


def _load(output: str, ids: int) -> Load:
    found = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise RuntimeError(f"wrk did not finish:\n{output}")
    result = json.loads(found[0].removeprefix("RESULT "))
    if result["refused"] or result["broken"]:
        raise RuntimeError(f"{result['refused']} responses were not 2xx, {result['broken']} did not arrive.")
    if result["asked"] > ids:
        raise RuntimeError(f"wrk needed {result['asked']} ids and had {ids}.")
    return Load(
        per_second=result["answers"] / result["seconds"],
        answers=result["answers"],
        p50_ms=result["p50"],
        p95_ms=result["p95"],
        p99_ms=result["p99"],
    )
