"""Figure 10: accepting while 1,000 running requests each report their progress every ten seconds.

The reports come at a fixed rate from a process of its own, with N8N's key, over real HTTP.
"""

import asyncio
import json
import random
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM

from benchmarks import rows
from benchmarks.accept import PROCESSES, sender
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.reporting import EXECUTION_ID
from benchmarks.reporting import KEY as N8N_KEY
from benchmarks.sender import Sender
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import KEY, Load, new_ids

REQUESTS, EVERY_SECONDS = 1000, 10
CLIENTS = {
    "all": {"keys": [KEY], "scopes": ["requests", "callbacks", "ops"]},
    "n8n": {"keys": [N8N_KEY], "scopes": ["callbacks"]},
}


async def measure(ground: Ground) -> Figure:
    """Measures accepted requests per second without and during the storm, then the storm alone."""
    async with ground.database() as database, ground.api(database, processes=PROCESSES, clients=CLIENTS) as api:
        storm, send = Storm(ground.folder / "running", api), sender(ground, api)
        await rows.running(database, storm.ids, EXECUTION_ID)
        sides = {"without reports": send, "with reports": lambda: _during(storm, send)}
        found = await in_turns(ground.repetitions, sides)
        alone = await _alone(ground, api, storm)
    ratio = rate_ratio(found["with reports"], found["without reports"])
    check = Check("accept, with progress reports / without", ratio, least=0.9)
    lost = statistics.median(load.per_second for load in found["without reports"]) * (1 - ratio)
    alone["accepts that one report costs"] = lost * EVERY_SECONDS / REQUESTS  # the same on a busy machine
    return Figure(
        10, "progress", "1,000 requests that report progress", [check], medians(found) | storm.facts() | alone
    )


@dataclass
class Storm:
    """Progress reports at a fixed rate; `measured` is what each run of the process printed."""

    folder: Path
    api: Running
    ids: list[str] = field(default_factory=lambda: new_ids(REQUESTS))
    measured: list[dict[str, float]] = field(default_factory=list)

    @asynccontextmanager
    async def blowing(self) -> AsyncIterator[None]:
        """Sends the reports while the block runs. Raises `RuntimeError` if one was refused."""
        self.folder.write_text("\n".join(random.sample(self.ids, len(self.ids))))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.reporting", self.api.url, str(self.folder)),
            str(REQUESTS / EVERY_SECONDS),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await asyncio.sleep(1)  # connects, and its statements are prepared
            yield
        finally:
            if process.returncode is None:
                process.send_signal(SIGTERM)
            output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError("The progress reports ended early; see above.")
        self.measured.append(json.loads(output))

    def facts(self) -> dict[str, float]:
        """Returns the medians of rate and response times."""
        names = {"reports per second": "per_second", "report p50 ms": "p50_ms", "report p95 ms": "p95_ms"}
        return {name: statistics.median(run[key] for run in self.measured) for name, key in names.items()}


async def _during(storm: Storm, send: Sender) -> Load:
    async with storm.blowing():
        return await send()


async def _alone(ground: Ground, api: Running, storm: Storm) -> dict[str, float]:
    """Returns the shares of a core that the storm costs without other load."""
    async with storm.blowing():
        before = cpu_seconds(api.pid), ground.postgres_cpu()
        await asyncio.sleep(ground.seconds)
        service, postgres = cpu_seconds(api.pid) - before[0], ground.postgres_cpu() - before[1]
    return {
        "reports alone, API's share of a core": service / ground.seconds,
        "reports alone, PostgreSQL's share of a core": postgres / ground.seconds,
    }
