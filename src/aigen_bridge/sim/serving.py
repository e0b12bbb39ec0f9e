"""Serves an ASGI application on a real socket, inside a running event loop or as a whole command."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from aigen_bridge.sockets import authority, bind

ABORT = "aigen.abort"
"""Key in the ASGI scope of a function that cuts the caller's connection."""


class DropConnection(Response):
    """Cuts the connection instead of responding; the caller sees an empty reply.

    Works only under `serving` and `run`, because ASGI itself has no such operation.
    """

    def __init__(self) -> None:
        super().__init__(status_code=500)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        scope[ABORT]()
        while (await receive())["type"] != "http.disconnect":
            pass


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves `app` in the current event loop and yields its base URL, which already accepts connections.

    `port` 0 picks a free one. Installs no signal handlers. On exit, closes idle connections and cancels running
    requests immediately. Raises RuntimeError when the application does not start, OSError when the port is in use.
    """
    sock = bind(host, port)
    server = uvicorn.Server(_config(app))
    cuttable = _Cuttable(app, server.server_state)
    server.config.app = cuttable
    try:
        await _start(server, sock)
        address, actual_port = sock.getsockname()[:2]
        yield f"http://{authority(address, actual_port)}"
    finally:
        cuttable.closing = True
        await _stop(server)
        sock.close()


def run(
    app: ASGIApp,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serves `app` until SIGINT or SIGTERM. Calls `announce` with the base URL once it accepts connections."""
    asyncio.run(_serve_until_signal(app, host, port, announce or (lambda _url: None)))


async def _serve_until_signal(app: ASGIApp, host: str, port: int, announce: Callable[[str], None]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with serving(app, host=host, port=port) as url:
        announce(url)
        await stopping.wait()


def _config(app: ASGIApp) -> uvicorn.Config:
    """Configures uvicorn without logging and without the headers that need its periodic tick."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,  # longer than callers keep connections open
    )


async def _start(server: uvicorn.Server, sock: socket.socket) -> None:
    """Runs uvicorn's startup without its main loop, which only waits for signals and updates the Date header."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    try:
        await server.startup(sockets=[sock])
    except SystemExit as stopped:
        raise RuntimeError("the application did not start") from stopped


async def _stop(server: uvicorn.Server) -> None:
    if not server.started:
        return
    for listener in server.servers:
        listener.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    running = list(server.server_state.tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await server.lifespan.shutdown()


class _Cuttable:
    """Wraps the application to cut connections on request, and to suppress cancellation errors at shutdown."""

    def __init__(self, app: ASGIApp, state: uvicorn.server.ServerState) -> None:
        self._app = app
        self._state = state
        self.closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller = scope["client"]
            scope[ABORT] = lambda: self._cut(caller)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.closing:
                raise

    def _cut(self, caller: tuple[str, int]) -> None:
        for connection in list(self._state.connections):
            if connection.transport.get_extra_info("peername")[:2] == caller:
                connection.transport.abort()
