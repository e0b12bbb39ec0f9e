"""Base of the three simulators: an application, fault injection, and a record of the calls."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.calls import Calls
from aigen_bridge.sim.faults import Fault, FaultKind, Faults
from aigen_bridge.sim.serving import DropConnection

Clock = Callable[[], float]
"""Seconds since 1970, like time.time."""


@dataclass(frozen=True)
class Received:
    """A request as a handler sees it."""

    request: Request
    raw: bytes
    """The body's bytes."""
    json: Any
    """The parsed body; None when it is empty or not JSON."""


Handler = Callable[[Received], Awaitable[Response]]
PAGE = "<!DOCTYPE html>\n<html><head><title>Please wait</title></head><body><h1>Please wait</h1></body></html>\n"
_FAULT_LIST = TypeAdapter(list[Fault])


class Simulator:
    """One simulated system.

    `app` is the ASGI application, `faults` the queue of faults to inject, `calls` the received calls. The last two are
    also available over HTTP: `POST`, `GET`, `DELETE /_sim/faults` and `GET`, `DELETE /_sim/calls`.
    """

    def __init__(self, *, seed: int = 0, clock: Clock = time.time) -> None:
        self.faults = Faults(seed)
        self.calls = Calls()
        self.clock = clock
        routes = [*self.routes(), *self._control_routes(), *self.elsewhere()]
        self.app = Starlette(routes=routes, lifespan=self._lifespan)

    def routes(self) -> list[Route]:
        """Returns the simulated system's own endpoints."""
        raise NotImplementedError

    def elsewhere(self) -> list[Route]:
        """Returns the routes for paths that match no other route."""
        return []

    def unready(self, request: Request) -> Response | None:  # noqa: ARG002 - for overrides
        """Returns the response of a system that is not ready, or None when it is. It injects no faults meanwhile."""
        return None

    def refusal(self, fault: Fault) -> Response:
        """Returns the simulated system's response when it fails with `fault.status`."""
        raise NotImplementedError

    def summary(self, received: Received) -> Mapping[str, Any]:
        """Returns the fields of a body that the record of calls keeps."""
        return received.json if isinstance(received.json, dict) else {}

    async def open(self) -> None:
        """Runs before the first request."""

    async def close(self) -> None:
        """Runs after the last request."""

    def at(
        self, path: str, place: str, handler: Handler, method: str = "POST", *, faults_if_named: bool = False
    ) -> Route:
        """Makes an endpoint that records its calls under the name `place` and injects the faults for it.

        `faults_if_named`: only those whose route is this place.
        """

        async def endpoint(request: Request) -> Response:
            received = await _receive(request)
            call = self.calls.arrived(
                route=place,
                method=request.method,
                path=request.url.path,
                at=self.clock(),
                headers=request.headers,
                fields=self.summary(received),
            )
            response = self.unready(request) or await self._respond(
                self.faults.take(place, if_named=faults_if_named), received, handler
            )
            self.calls.answered(call, 0 if isinstance(response, DropConnection) else response.status_code)
            return response

        return Route(path, endpoint, methods=[method])

    async def _respond(self, fault: Fault | None, received: Received, handler: Handler) -> Response:
        if fault is None:
            return await handler(received)
        if fault.kind is not FaultKind.DELAY_AFTER:
            await asyncio.sleep(fault.delay)
        if fault.kind is FaultKind.DROP:
            return DropConnection()
        if fault.kind is FaultKind.STATUS:
            return _redirecting(self.refusal(fault), fault)
        if fault.kind is FaultKind.BODY:
            return Response(fault.detail, fault.status, media_type="application/json")
        if fault.kind is FaultKind.PAGE:
            return _page(fault)
        response = await handler(received)
        return response if fault.kind is FaultKind.DELAY else await self._instead_of(response, fault)

    async def _instead_of(self, response: Response, fault: Fault) -> Response:
        """Runs the response's background task, then returns it late, or another one, or cuts the connection."""
        if response.background is not None:
            await response.background()
            response.background = None
        if fault.kind is FaultKind.DELAY_AFTER:
            await asyncio.sleep(fault.delay)
            return response
        return DropConnection() if fault.kind is FaultKind.DROP_AFTER else _page(fault)

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        await self.open()
        try:
            yield
        finally:
            await self.close()

    def _control_routes(self) -> list[Route]:
        return [
            Route("/_sim/faults", self._add_faults, methods=["POST"]),
            Route("/_sim/faults", self._show_faults, methods=["GET"]),
            Route("/_sim/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_sim/calls", self._show_calls, methods=["GET"]),
            Route("/_sim/calls", self._clear_calls, methods=["DELETE"]),
        ]

    async def _add_faults(self, request: Request) -> Response:
        try:
            wanted = json.loads(await request.body())
            faults = _FAULT_LIST.validate_python(wanted if isinstance(wanted, list) else [wanted])
        except ValidationError as error:
            return JSONResponse({"detail": error.errors(include_url=False, include_context=False)}, 422)
        except ValueError:
            return JSONResponse({"detail": "the body is no JSON"}, 400)
        self.faults.add(*faults)
        return JSONResponse(self.faults.as_json(), 201)

    async def _show_faults(self, _request: Request) -> Response:
        return JSONResponse(self.faults.as_json())

    async def _clear_faults(self, _request: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)

    async def _show_calls(self, _request: Request) -> Response:
        return JSONResponse(self.calls.as_json())

    async def _clear_calls(self, _request: Request) -> Response:
        self.calls.clear()
        return Response(status_code=204)


def _page(fault: Fault) -> Response:
    """A proxy's page: the answer is not the simulated system's own."""
    return HTMLResponse(fault.detail or PAGE, fault.status, retry_after(fault))


def retry_after(fault: Fault) -> dict[str, str]:
    """Returns the `Retry-After` header of a fault, if any."""
    value = fault.retry_after
    return {} if value is None else {"Retry-After": value if isinstance(value, str) else f"{value:g}"}


def _redirecting(response: Response, fault: Fault) -> Response:
    if fault.location:
        response.headers["Location"] = fault.location
    return response


async def _receive(request: Request) -> Received:
    raw = await request.body()
    try:
        return Received(request, raw, json.loads(raw) if raw else None)
    except ValueError:
        return Received(request, raw, None)
