"""The two kinds of N8N for the scenarios: real and simulated."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from theatre import BRIDGE_SECRET, CALLBACK_KEY, FLUX_KEY, SIGNING_SECRET, WEBHOOK_KEY
from variants import CHANGES, OLD, PATHS

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux import QUEUE
from aigen_bridge.sim.n8n import N8nSettings, N8nSimulator
from aigen_bridge.sim.n8n_settings import CallbackStyle
from aigen_bridge.sim.serving import serving
from ports import free_port
from real_n8n import WEBHOOK, RealN8n
from real_redis import RealRedis


class RealPlayer:
    """A real N8N."""

    real = True

    def __init__(self, n8n: RealN8n) -> None:
        self._n8n = n8n

    def webhook(self, variant: str) -> str:
        return self._n8n.url + PATHS.get(variant, WEBHOOK)

    async def stop(self) -> None:
        await asyncio.to_thread(self._n8n.stop)

    async def kill(self) -> None:
        await asyncio.to_thread(self._n8n.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._n8n.start, WEBHOOK)

    def pause(self) -> None:
        """Stops the processes of N8N where they are, as a paused container or a frozen machine does."""
        self._n8n.signal_all(signal.SIGSTOP)

    def wake(self) -> None:
        """Lets the processes of N8N go on."""
        self._n8n.signal_all(signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self._n8n.is_running

    @property
    def redis(self) -> RealRedis:
        """The Redis of queue mode."""
        assert self._n8n.queue is not None
        return self._n8n.queue.redis

    async def kill_only(self, *names: str) -> None:
        """Kills these processes of queue mode."""
        await asyncio.to_thread(self._n8n.kill, *names)

    def worker_of(self, execution_id: str) -> str | None:
        """Returns the name of the worker that runs an execution, None while no worker does."""
        return self._n8n.worker_of(execution_id)

    async def idle(self) -> None:
        """Waits for a while only: executions of earlier scenarios may still be running."""
        await asyncio.sleep(4)

    async def retry(self, request_id: str) -> None:  # noqa: ARG002 - retries the one that failed last
        await asyncio.to_thread(self._n8n.retry_last_failed, "aigen-main")


class SimulatedPlayer:
    """Simulated N8Ns, one for each variant of the workflow, with shorter waits than the real one."""

    real = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._simulators = {name: _simulator(settings, name) for name in ("v2", *CHANGES, OLD)}
        self._simulators["bug"].faults.add(Fault(kind=FaultKind.WORKFLOW_BUG, times=None))
        self._urls: dict[str, str] = {}
        self._running = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def playing(cls, settings: Mapping[str, Any]) -> AsyncIterator["SimulatedPlayer"]:
        """Runs the simulators."""
        player = cls(settings)
        await player.start()
        try:
            yield player
        finally:
            await player.kill()

    def webhook(self, variant: str) -> str:
        return self._urls[variant] + WEBHOOK

    async def stop(self) -> None:
        await self.idle()
        await self.kill()

    async def kill(self) -> None:
        await self._running.aclose()

    async def idle(self) -> None:
        for simulator in self._simulators.values():
            await simulator.idle()

    async def retry(self, request_id: str) -> None:
        assert sum(simulator.replay(request_id) for simulator in self._simulators.values()) == 1

    async def start(self) -> None:
        """Starts the simulators, at the same addresses as before."""
        for name, simulator in self._simulators.items():
            port = int(self._urls[name].rpartition(":")[2]) if name in self._urls else free_port()
            self._urls[name] = await self._running.enter_async_context(serving(simulator.app, port=port))


def _simulator(settings: Mapping[str, Any], variant: str) -> N8nSimulator:
    chosen = {**settings, **CHANGES.get(variant, {})}
    return N8nSimulator(
        N8nSettings(
            key=WEBHOOK_KEY,
            callback_key=CALLBACK_KEY,
            signing_secret=None if variant == OLD else SIGNING_SECRET,
            webhook_signing_secret=None if variant == OLD else BRIDGE_SECRET,
            bridge_url=None if variant == OLD else chosen["bridgeUrl"],
            flux_url=chosen["aiUrl"].removesuffix(QUEUE),
            flux_key=FLUX_KEY,
            callback_style="v1" if variant == OLD else cast("CallbackStyle", chosen["callbackStyle"]),
            ai_origins=tuple(chosen["aiOrigins"]),
            loras=chosen["loras"],
            negative_prompt=chosen["negativePrompt"],
            speaks=variant != OLD,
            ai_waits=(0.05, 0.05),
            ask_wait=0.2,
            poll_waits=(0.05, 0.1, 0.2),
            repeat_progress=0.4,
            callback_waits=(0.05, 0.1, 0.2),
            failure_waits=(0.1,) * 100,
        )
    )
