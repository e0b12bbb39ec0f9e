"""HTTP connection limits that uvicorn lacks: size and deadline of a request head, idle time, number of connections.

uvicorn's parser (httptools) buffers a request's head without a size limit or a deadline, so a caller that sends a byte
now and then could hold a connection forever. A deadline runs from the start of a wait; further bytes do not extend it.
"""

import asyncio
import json
from asyncio import TimerHandle
from typing import Any

import uvloop
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from aigen_bridge.sockets import bind

HEAD_MAX = 64 * 2**10
"""Bytes of a request line and all header lines, and of trailers."""
HEADERS_MAX = 100
"""Header lines, trailers included."""
HEAD_SECONDS = 10.0
"""From a new connection, or the first byte of a further request, to the end of the head."""
REST_SECONDS = 30.0
"""For the rest of a body whose request was answered before the body was complete. The rest is discarded."""
CLOSE_SECONDS = 5.0
"""For the last response to be sent on a connection that is being closed."""
STALL_SECONDS = 60.0
"""For a caller that has stopped reading to read more of a response."""
CONNECTIONS_MAX = 1000
"""Per process. A further connection replaces the one that has waited longest without a request, if there is one."""
PIPELINE_MAX = 16
"""Requests on one connection that wait for an earlier one."""

PROBLEMS = {
    408: ("head_too_slow", "Too slow", f"The request's head did not arrive within {HEAD_SECONDS:g} seconds."),
    431: (
        "head_too_large",
        "Head too large",
        f"The request's head is larger than {HEAD_MAX} bytes, or has more than {HEADERS_MAX} header lines.",
    ),
    503: ("too_many_connections", "Too many connections", f"All {CONNECTIONS_MAX} connections are busy."),
}


class Loop(uvloop.Loop):
    """uvloop, with a deadline for TLS handshakes that uvicorn does not pass on, and `::` for IPv4, too."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """Creates a server as uvloop does, whose own deadline for TLS handshakes is a minute."""
        if options.get("ssl"):
            options.setdefault("ssl_handshake_timeout", HEAD_SECONDS)
        if options.get("host"):
            options["sock"] = bind(options.pop("host"), options.pop("port"))
        return await super().create_server(*arguments, **options)


def _problem(status: int) -> bytes:
    code, title, detail = PROBLEMS[status]
    kind = f"urn:aigen-bridge:problem:{code.replace('_', '-')}"
    body = json.dumps({"type": kind, "title": title, "status": status, "code": code, "detail": detail}).encode()
    headers = b"content-type: application/problem+json\r\nconnection: close\r\n"
    return STATUS_LINE[status] + headers + b"content-length: %d\r\n\r\n" % len(body) + body


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection, with these limits. A connection that exceeds one gets a short response and is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: TimerHandle | None = None
        self._stall_timer: TimerHandle | None = None
        self._waiting_since = 0.0
        self._served = False
        self._progressed = False  # this read completed a part of a request, or received some of its body
        self._incomplete = 0  # bytes received since the last progress
        self._head_bytes = 0
        self._too_large = self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accepts the connection if there is room."""
        full = len(self.connections) >= CONNECTIONS_MAX
        super().connection_made(transport)
        self._start_head_timer()
        if full and not self._make_room():
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, then checks the limits of an incomplete head."""
        if self._refused or self.transport.is_closing():
            return
        self._progressed = False
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        self._incomplete = 0 if self._progressed else self._incomplete + len(data)
        if self._incomplete > HEAD_MAX:
            self._refuse(431)
        elif self._timer is None and self.timeout_keep_alive_task is None and self.is_waiting:
            self._start_head_timer()  # a head has begun, or only line ends arrived

    @property
    def is_waiting(self) -> bool:
        """Returns whether the connection handles no request: it waits for a head or is being closed."""
        return self._refused or self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def on_message_begin(self) -> None:
        """Starts counting the bytes of a further head."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Counts a piece of the URL."""
        self._count_head_bytes(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts a header line or trailer."""
        self._count_head_bytes(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            self._reject_head()

    def on_headers_complete(self) -> None:
        """Stops the head's deadline."""
        if len(self.pipeline) >= PIPELINE_MAX:
            self._reject_head()
        self._stop_timer()
        self._progressed = self._served = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Records that some of the body arrived."""
        self._progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends the request. The rest of a body that was not read has been discarded."""
        self._progressed = True
        unread = self.cycle.response_complete
        self.cycle.more_body = False
        super().on_message_complete()
        if unread and not self.pipeline:
            self._stop_timer()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Ends the response, and limits the wait for the rest of the body."""
        super().on_response_complete()
        self._waiting_since = self.loop.time()
        if self.transport.is_closing():
            self._abort_soon()
        elif self.cycle.response_complete and self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._start_timer(REST_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Starts the stall timer: the caller does not read."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stops the stall timer: the caller reads again."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        super().timeout_keep_alive_handler()
        self._abort_soon()

    def shutdown(self) -> None:
        """Closes the connection because the process stops."""
        super().shutdown()
        if self.transport.is_closing():
            self._abort_soon()

    def send_400_response(self, msg: str) -> None:
        """Refuses a request that the parser rejected, or whose head is too large."""
        if self._too_large:
            self._refuse(431)
        else:
            super().send_400_response(msg)
            self._abort_soon()

    def _count_head_bytes(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX:
            self._reject_head()

    def _reject_head(self) -> None:
        self._too_large = True
        raise ValueError("the head is too large")  # the parser raises it as an error of its own

    def _make_room(self) -> bool:
        """Closes the connection that has waited longest, preferring those that never sent a request."""
        others = [
            it
            for it in self.connections
            if isinstance(it, BoundedProtocol) and it is not self and it.is_waiting and not it.transport.is_closing()
        ]
        if not others:
            return False
        oldest = min(others, key=lambda it: (it._served, it._waiting_since))  # noqa: SLF001 - the same class
        oldest.transport.abort()
        return True

    def _start_head_timer(self) -> None:
        self._waiting_since = self.loop.time()
        self._start_timer(HEAD_SECONDS, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self._incomplete:
            self._refuse(408)
        else:
            self.transport.close()

    def _start_timer(self, seconds: float, act: Any) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int) -> None:
        """Responds with a problem and closes. Cuts off at once when an earlier request is still in progress."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_problem(status))
        if status != 503 and self.transport.can_write_eof():  # noqa: PLR2004 - there is no room to wait
            self.transport.write_eof()  # further input is discarded; closing at once would lose the response
            self._refused = True
        else:
            self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        """Aborts a closing connection after `CLOSE_SECONDS`, even if the caller has not read the last response."""
        self._start_timer(CLOSE_SECONDS, self.transport.abort)
