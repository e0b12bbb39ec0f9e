"""Starts and restarts the processes, as systemd does, and detects when one ends by itself."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from chaos.ground import BRIDGE_SECRET, FLUX_KEY, KEYS, N8N_SECRET, ODOO_KEY, WEBHOOK_KEY, Ground, url
from chaos.schedule import STORE
from chaos.weather import SILENCE
from s3_server import S3Server

START_SECONDS, STOP_SECONDS = 120, 60
"""Long enough for a busy machine."""
GRACEFUL = frozenset({0, -signal.SIGTERM})
"""Permitted exit statuses after SIGTERM. uvicorn ends with the signal that it received."""


@dataclass
class Place:
    """One process at a time, restarted with the same name, port and settings."""

    name: str
    arguments: tuple[str, ...]
    healthy: str | None
    """A URL that responds once the process is ready; None: it logs `ready`."""
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "aigen_bridge")
    ready: bytes = b"worker.started"
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: asyncio.subprocess.Process | None = None
    end_is_meant: bool = False
    log_read: int = 0

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, if the process is running."""
        if self.process and self.process.returncode is None:
            self.process.send_signal(number)

    @property
    def pid(self) -> int | None:
        """The process id; None when no process is running."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """All places of a run. `fallen` lists the processes that ended by themselves or did not start or stop in time."""

    def __init__(self, places: Mapping[str, Place], environment: Mapping[str, str], home: Path) -> None:
        self.places = places
        self.fallen: list[str] = []
        self._environment = environment
        self._home = home
        self._watchers: set[asyncio.Task[None]] = set()

    async def start(self, place: Place) -> None:
        """Starts a process and waits until it is ready. Adds it to `fallen` if it is not ready in time."""
        place.end_is_meant = False
        place.log_read = place.log.stat().st_size if place.log.exists() else 0
        with place.log.open("ab") as log:
            place.process = await asyncio.create_subprocess_exec(
                *(*place.program, *place.arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                cwd=self._home,
                start_new_session=True,  # Ctrl-C reaches only this process
            )
        watcher = asyncio.create_task(self._watch(place, place.process))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        try:
            await _until_ready(place)
        except TimeoutError:
            self.fallen.append(f"{place.name} was not ready within {START_SECONDS} s")

    async def kill(self, place: Place) -> None:
        """Kills a process with SIGKILL."""
        place.end_is_meant = True
        place.send(signal.SIGKILL)
        if place.process:
            await place.process.wait()

    async def stop(self, place: Place) -> None:
        """Stops a process with SIGTERM. Adds it to `fallen` unless it ends gracefully and in time."""
        place.end_is_meant = True
        place.send(signal.SIGTERM)
        if place.process is None:
            return
        try:
            code = await asyncio.wait_for(place.process.wait(), STOP_SECONDS)
        except TimeoutError:
            self.fallen.append(f"{place.name} did not end within {STOP_SECONDS} s of SIGTERM")
            await self.kill(place)
        else:
            if code not in GRACEFUL:
                self.fallen.append(f"{place.name} ended with {code} after SIGTERM")

    async def close(self) -> None:
        """Kills every process."""
        for watcher in list(self._watchers):
            watcher.cancel()
        for place in self.places.values():
            await self.kill(place)

    async def _watch(self, place: Place, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not place.end_is_meant:
            last = place.log.read_text(errors="replace").splitlines()[-3:]
            self.fallen.append(f"{place.name} ended by itself with {code}: {' / '.join(last)[-500:]}")
            async with place.lock:
                await self.start(place)


@asynccontextmanager
async def supervised(
    ground: Ground, environment: Mapping[str, str], *, processes: int, style: str, reports: float
) -> AsyncIterator[Supervisor]:
    """Runs all processes."""
    keys = ground.storage.environment if isinstance(ground.storage, S3Server) else {}
    supervisor = Supervisor(_places(ground, processes, style, reports), {**environment, **keys}, ground.home)
    try:
        await asyncio.gather(*(supervisor.start(place) for place in supervisor.places.values()))
        if supervisor.fallen:
            raise RuntimeError("\n".join(["The processes did not start.", *supervisor.fallen]))
        yield supervisor
    finally:
        await supervisor.close()


def n8n_arguments(ground: Ground, style: str, *, reports: float = 1) -> tuple[str, ...]:
    """Returns the arguments of an N8N with this callback style, which starts in a second, also after a kill at a node.

    `reports` is the probability that a dead execution is reported at the next start.
    """
    keys = ("--key", WEBHOOK_KEY, "--callback-key", KEYS["n8n"], "--flux-key", FLUX_KEY)
    urls = ("--bridge-url", url(ground.load_balancer), "--flux-url", url(ground.flux), "--callback-style", style)
    signing = ("--signing-secret", N8N_SECRET, "--webhook-signing-secret", BRIDGE_SECRET)
    progress = ("--repeat-progress", str(SILENCE / 2))
    journal = ("--executions", str(ground.executions), "--crash-reports", str(reports))
    startup = ("--starting-seconds", "0.5", "--no-webhook-seconds", "0.5")
    return ("sim", "n8n", "--port", str(ground.n8n), *keys, *urls, *signing, *progress, *journal, *startup)


def _places(ground: Ground, processes: int, style: str, reports: float) -> dict[str, Place]:
    odoo: tuple[str, ...] = (
        "sim",
        "odoo",
        "--port",
        str(ground.odoo),
        "--api-key",
        ODOO_KEY,
        "--state",
        str(ground.effects),
    )
    odoo = (*odoo, "--seconds", "0.15")
    flux = ("sim", "flux", "--port", str(ground.flux), "--key", FLUX_KEY, "--runners", "50")
    flux = (*flux, "--seconds", "0.5", "--queue-seconds", "0.3")  # never struck: its ledger is in memory
    wanted: dict[str, tuple[tuple[str, ...], str | None]] = {
        "n8n": (n8n_arguments(ground, style, reports=reports), url(ground.n8n) + "/healthz"),
        "odoo": (odoo, url(ground.odoo) + "/web/health"),
        "flux": (flux, url(ground.flux) + "/_sim/jobs"),
    }
    for number, port in enumerate(ground.apis, 1):
        wanted[f"api-{number}"] = ("serve", "--port", str(port)), url(port) + "/health/live"
    for number in range(1, processes + 1):
        wanted[f"worker-{number}"] = ("worker",), None
    places = {name: Place(name, *how, log=ground.home / f"{name}.log") for name, how in wanted.items()}
    if isinstance(ground.storage, S3Server):
        program, log = tuple(ground.storage.command), ground.home / f"{STORE}.log"
        places[STORE] = Place(STORE, (), None, log, program, ready=b"Starting s3 server")
    return places


async def _until_ready(place: Place) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False, verify=False, timeout=5) as http:
        while place.pid and not await _is_ready(place, http):
            await asyncio.sleep(0.05)


async def _is_ready(place: Place, http: httpx.AsyncClient) -> bool:
    if place.healthy is None:
        with place.log.open("rb") as log:
            log.seek(place.log_read)
            return place.ready in log.read()
    with contextlib.suppress(httpx.HTTPError):
        return (await http.get(place.healthy)).is_success
    return False
