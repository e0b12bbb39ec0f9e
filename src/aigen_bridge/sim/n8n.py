"""Simulates N8N with the workflow: webhook, acknowledgement, AI call, callback with retries, dead letters."""

import asyncio
import random
import secrets
import ssl
import time
from collections.abc import Coroutine
from dataclasses import asdict
from functools import cache
from typing import Any

import httpx
from pydantic import TypeAdapter, ValidationError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_ai import AiService
from aigen_bridge.sim.n8n_bridge import BridgeClient
from aigen_bridge.sim.n8n_callbacks import Attempt, CallbackSender, Undelivered
from aigen_bridge.sim.n8n_execution import Workflow
from aigen_bridge.sim.n8n_generation import GenerationClient
from aigen_bridge.sim.n8n_journal import Journal
from aigen_bridge.sim.n8n_nodes import Node
from aigen_bridge.sim.n8n_order import Start
from aigen_bridge.sim.n8n_paid_work import PaidWork
from aigen_bridge.sim.n8n_pictures import PictureMaker
from aigen_bridge.sim.n8n_settings import CallbackStyle, N8nSettings
from aigen_bridge.sim.n8n_signatures import is_signed
from aigen_bridge.sim.n8n_startup import WEBHOOK, Restart, Startup, no_route, not_registered
from aigen_bridge.sim.serving import DropConnection
from aigen_bridge.sim.simulator import Clock, Received, Simulator, retry_after
from aigen_bridge.sim.temporary import TemporaryFiles

__all__ = ["CallbackStyle", "N8nSettings", "N8nSimulator"]

MAX_BODY = 16 * 1024 * 1024
"""Bytes; N8N's own default limit."""
ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

NODE_KINDS = frozenset({FaultKind.KILL, FaultKind.PAUSE})

_RESTART = TypeAdapter(Restart)


class N8nSimulator(Simulator):
    """An N8N with one published workflow.

    Routes for faults: `webhook`, `callback` (the execution that it starts), `image` (images drawn by the simulator),
    and every `Node` for the kinds `kill` and `pause`.
    """

    def __init__(self, settings: N8nSettings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        self.attempts: list[Attempt] = []
        """Every callback attempt so far, oldest first."""
        self.dead: list[Undelivered] = []
        """The undelivered callbacks, oldest first."""
        self._files = TemporaryFiles(settings.url_lifetime, clock)
        self._slots = asyncio.Semaphore(settings.max_executions)
        self._running: set[asyncio.Task[None]] = set()
        self._startup = Startup(clock)
        self._journal = Journal(settings.executions_path)
        self._random = random.Random(settings.seed)  # noqa: S311 - repeatable chaos, not secrecy
        self._awake = asyncio.Event()
        self._awake.set()
        self._restarting: asyncio.Task[None] | None = None
        self._incarnation = 0
        super().__init__(seed=settings.seed, clock=clock)

    @property
    def running(self) -> int:
        """Number of executions and replays that are running or waiting for a slot."""
        return len(self._running)

    def routes(self) -> list[Route]:
        """Returns the endpoints of the webhook, the images, the health checks and the controls of this simulator."""
        return [
            self.at(WEBHOOK, "webhook", self._webhook),
            self.at("/files/{name}", "image", self._files.served(self.faults), "GET"),
            Route("/healthz", self._healthz),
            Route("/healthz/readiness", self._readiness),
            Route("/_sim/attempts", self._show_attempts),
            Route("/_sim/dead", self._show_dead),
            Route("/_sim/dead/{request_id}/replay", self._replay_dead, methods=["POST"]),
            Route("/_sim/running", self._show_running),
            Route("/_sim/restart", self._restart, methods=["POST"]),
            Route("/_sim/pause", self._pause, methods=["POST"]),
            Route("/_sim/wake", self._wake, methods=["POST"]),
        ]

    def elsewhere(self) -> list[Route]:
        """Returns the fallback route for every path that N8N does not serve."""
        return [Route("/{path:path}", self._elsewhere, methods=ANY_METHOD)]

    def unready(self, request: Request) -> Response | None:
        """Responds as N8N does during startup. Images are always served, because they are not N8N's own."""
        return None if request.url.path.startswith("/files/") else self._startup.answer(request)

    def refusal(self, fault: Fault) -> Response:
        """Returns an error in N8N's format."""
        body = {"code": fault.status, "message": fault.detail or "Service unavailable"}
        return JSONResponse(body, fault.status, retry_after(fault))

    async def idle(self, *, seconds: float = 10.0) -> None:
        """Waits until no execution is running. Raises TimeoutError after `seconds`."""
        async with asyncio.timeout(seconds):
            while self._running:
                await asyncio.wait(self._running)

    def replay(self, request_id: str) -> int:
        """Sends the undelivered callbacks of a request again, in the background. Returns their number."""
        again = [letter for letter in self.dead if letter.last.request_id == request_id]
        for letter in again:
            self.dead.remove(letter)
            self._spawn(self._workflow.deliver(letter.callback))
        return len(again)

    async def restart(self, wanted: Restart) -> None:
        """Kills the running executions, without a word, and starts again. The start reports them by their ids only."""
        await self._kill()
        self._awake.set()
        self._start(wanted)

    def pause(self) -> None:
        """Stands still, as after SIGSTOP: executions send and receive nothing, and connections hang."""
        self._awake.clear()

    def wake(self) -> None:
        """Goes on after a pause."""
        self._awake.set()

    async def open(self) -> None:
        """Publishes the workflow. A closed simulator can be served again and keeps its records."""
        no_limit = httpx.Limits(max_connections=None)
        hooks = {"request": [self._stand_still], "response": [self._stand_still]}
        self._http = httpx.AsyncClient(verify=_trusted(), trust_env=False, limits=no_limit, event_hooks=hooks)
        ai = AiService(self.settings, self._http)
        pictures = PictureMaker(self.settings, ai, self._files)
        sender = CallbackSender(self.settings, self._http, self.clock, self._reach, self.attempts)
        bridge = BridgeClient(self.settings, self._http, self.clock)
        generations = GenerationClient(self.settings, self._http, self.clock)
        work = PaidWork(self.settings, bridge, generations, ai, pictures, self.clock)
        self._workflow = Workflow(self.settings, self.faults, self._reach, work, sender, bridge, dead=self.dead)
        self._start(Restart())

    async def close(self) -> None:
        """Cancels the executions, as killing N8N does, and closes the connections. The next start reports them."""
        if self._restarting:
            await self._restarting
        await self._kill()
        self._awake.set()
        await self._http.aclose()

    def _start(self, wanted: Restart) -> None:
        starting, unregistered = wanted.starting_seconds, wanted.no_webhook_seconds
        self._incarnation += 1
        self._startup.begin(
            down=wanted.down_seconds,
            starting=self.settings.starting_seconds if starting is None else starting,
            unregistered=self.settings.no_webhook_seconds if unregistered is None else unregistered,
        )
        for execution_id in self._journal.unfinished():
            if self._random.random() < self.settings.crash_reports:
                self._spawn(self._report_crash(execution_id, wanted.down_seconds))

    async def _report_crash(self, execution_id: str, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._workflow.report_crash(execution_id)

    async def _kill(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _reach(self, node: Node, request_id: str) -> None:
        """Kills or pauses N8N if a fault says so. Returns when it is awake."""
        fault = self.faults.take(node, NODE_KINDS, request_id)
        if fault is not None and fault.kind is FaultKind.KILL:
            self._restarting = asyncio.create_task(self.restart(Restart(down_seconds=fault.delay)))
            await asyncio.Event().wait()  # until the restart cancels this execution
        if fault is not None:
            self.pause()
            if fault.delay:
                asyncio.get_running_loop().call_later(fault.delay, self.wake)
        await self._awake.wait()

    async def _stand_still(self, _message: httpx.Request | httpx.Response) -> None:
        await self._awake.wait()

    async def _webhook(self, received: Received) -> Response:
        await self._awake.wait()
        if len(received.raw) > MAX_BODY:
            return JSONResponse({"code": 500, "message": "request entity too large"}, 500)
        if received.json is None:
            return JSONResponse({"code": 422, "message": "Failed to parse request body"}, 422)
        if not self._is_key(received.request.headers.get("x-api-key", "")):
            refused = {"WWW-Authenticate": 'Basic realm="Webhook"'}
            return PlainTextResponse("Authorization data is wrong!", 403, refused)
        if not self._is_signed(received):
            return Response(status_code=401)
        return await self._acknowledge(_start(received))

    async def _acknowledge(self, start: Start) -> Response:
        """Starts the execution after the response was sent. With the fault `callback_first`, responds after its end."""
        incarnation = self._incarnation
        await asyncio.sleep(self.settings.ack_seconds)
        await self._awake.wait()
        if self._incarnation != incarnation:  # killed meanwhile
            return DropConnection()
        answered = asyncio.Event()
        execution = self._spawn(self._execute(start, answered))
        if self.faults.take("webhook", {FaultKind.CALLBACK_FIRST}):
            answered.set()
            await asyncio.wait({execution})
        begin = BackgroundTask(_set, answered)
        body = {"speaks": ["generation"]} if self.settings.speaks else {"message": "Workflow was started"}
        return JSONResponse(body, self.settings.ack_status, background=begin)

    async def _execute(self, start: Start, answered: asyncio.Event) -> None:
        await answered.wait()
        async with self._slots:
            self._journal.begin(start.execution_id)
            await self._workflow.execute(start)
            self._journal.end(start.execution_id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _is_key(self, key: str) -> bool:
        return secrets.compare_digest(key.encode(), self.settings.key.encode())

    def _is_signed(self, received: Received) -> bool:
        """Returns whether the bridge has signed the request, when the workflow has a secret to check it with."""
        secret = self.settings.webhook_signing_secret
        return secret is None or is_signed(secret, received.request.headers, received.raw, self.clock())

    async def _elsewhere(self, request: Request) -> Response:
        await self._awake.wait()
        if answer := self._startup.answer(request):
            return answer
        if request.url.path == WEBHOOK:
            message = (
                f"This webhook is not registered for {request.method} requests. Did you mean to make a POST request?"
            )
            return JSONResponse({"code": 404, "message": message}, 404)
        return not_registered(request) if request.url.path.startswith("/webhook/") else no_route(request)

    async def _healthz(self, _request: Request) -> Response:
        await self._awake.wait()
        return DropConnection() if self._startup.is_down else JSONResponse({"status": "ok"})

    async def _readiness(self, _request: Request) -> Response:
        await self._awake.wait()
        if self._startup.is_down:
            return DropConnection()
        return JSONResponse({"status": "ok"}) if self._startup.ready else JSONResponse({"status": "error"}, 503)

    async def _restart(self, request: Request) -> Response:
        try:
            wanted = _RESTART.validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return JSONResponse({"detail": error.errors(include_url=False, include_input=False)}, 422)
        await self.restart(wanted)
        return Response(status_code=204)

    async def _pause(self, _request: Request) -> Response:
        self.pause()
        return Response(status_code=204)

    async def _wake(self, _request: Request) -> Response:
        self.wake()
        return Response(status_code=204)

    async def _show_running(self, _request: Request) -> Response:
        return JSONResponse({"running": self.running})

    async def _show_attempts(self, _request: Request) -> Response:
        return JSONResponse([asdict(attempt) for attempt in self.attempts])

    async def _show_dead(self, _request: Request) -> Response:
        return JSONResponse([asdict(letter.last) for letter in self.dead])

    async def _replay_dead(self, request: Request) -> Response:
        count = self.replay(request.path_params["request_id"])
        return JSONResponse({"replayed": count}, 202 if count else 404)


@cache
def _trusted() -> ssl.SSLContext:
    """Loads the certificate authorities once per process, because it takes longer than everything else here."""
    return httpx.create_ssl_context(trust_env=False)


def _start(received: Received) -> Start:
    headers = received.request.headers
    trace = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    return Start(received.json, str(received.request.base_url), trace)


async def _set(event: asyncio.Event) -> None:
    event.set()
