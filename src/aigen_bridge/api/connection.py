"""Limits on HTTP connections that uvicorn does not have: size and time of a head, idle time, number of connections.

uvicorn's parser (httptools) buffers a request's head without a size limit or a deadline, so a caller that sends a byte
now and then holds a connection for ever. A deadline runs from the start of a wait; further bytes do not extend it.
"""

import asyncio
import json
from asyncio import TimerHandle
from typing import Any

import uvloop
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_MAX = 64 * 2**10
"""Bytes of a request line and all header lines, and of trailers."""
HEADERS_MAX = 100
"""Header lines, trailers included."""
HEAD_SECONDS = 10.0
"""From a new connection, or the first byte of a further request, to the end of the head."""
REST_SECONDS = 30.0
"""For the rest of a body whose request was answered before the body was complete. The rest is discarded."""
CLOSE_SECONDS = 5.0
"""For a last answer to leave a connection that is being closed."""
STALL_SECONDS = 60.0
"""For a caller to take some of an answer that it does not read."""
CONNECTIONS_MAX = 1000
"""In one process. One more takes the place of the one that has waited longest without a request, if there is one."""
PIPELINE_MAX = 16
"""Requests of one connection that wait for the one before."""

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
    """uvloop, with a deadline for TLS handshakes that uvicorn does not pass on."""

    async def create_server(self, *arguments: Any, **options: Any) -> Any:
        """As uvloop, whose own deadline is a minute."""
        if options.get("ssl"):
            options.setdefault("ssl_handshake_timeout", HEAD_SECONDS)
        return await super().create_server(*arguments, **options)


def _problem(status: int) -> bytes:
    code, title, detail = PROBLEMS[status]
    kind = f"urn:aigen-bridge:problem:{code.replace('_', '-')}"
    body = json.dumps({"type": kind, "title": title, "status": status, "code": code, "detail": detail}).encode()
    headers = b"content-type: application/problem+json\r\nconnection: close\r\n"
    return STATUS_LINE[status] + headers + b"content-length: %d\r\n\r\n" % len(body) + body


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection within these limits. What breaks one gets a short answer and is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: TimerHandle | None = None
        self._stalled: TimerHandle | None = None
        self._waiting_since = 0.0
        self._served = False
        self._moved = False  # something of a request was complete, or some of its body came, in this read
        self._incomplete = 0  # bytes since then
        self._head_bytes = 0
        self._too_large = self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room."""
        full = len(self.connections) >= CONNECTIONS_MAX
        super().connection_made(transport)
        self._wait_for_head()
        if full and not self._make_room():
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then look what is still open."""
        if self._refused or self.transport.is_closing():
            return
        self._moved = False
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        self._incomplete = 0 if self._moved else self._incomplete + len(data)
        if self._incomplete > HEAD_MAX:
            self._refuse(431)
        elif self._timer is None and self.timeout_keep_alive_task is None and self.is_waiting:
            self._wait_for_head()  # the head has begun, or only line ends came

    @property
    def is_waiting(self) -> bool:
        """Whether the connection handles no request: it waits for a head, or is being closed."""
        return self._refused or self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def on_message_begin(self) -> None:
        """A further head begins."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header line or trailer."""
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)
        if len(self.headers) > HEADERS_MAX:
            self._give_up_parsing()

    def on_headers_complete(self) -> None:
        """The head is here, in time."""
        if len(self.pipeline) >= PIPELINE_MAX:
            self._give_up_parsing()
        self._stop_timer()
        self._moved = self._served = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body came."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; the rest of a body that was not read is gone."""
        self._moved = True
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
        """Answered: a body of which there is more to come is not waited for much longer."""
        super().on_response_complete()
        self._waiting_since = self.loop.time()
        if self.transport.is_closing():
            self._abort_soon()
        elif self.cycle.response_complete and self.cycle.more_body:
            self._unset_keepalive_if_required()
            self._start_timer(REST_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """The caller does not read."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more came."""
        super().timeout_keep_alive_handler()
        self._abort_soon()

    def shutdown(self) -> None:
        """The process stops."""
        super().shutdown()
        if self.transport.is_closing():
            self._abort_soon()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser rejected, or whose head is too large."""
        if self._too_large:
            self._refuse(431)
        else:
            super().send_400_response(msg)
            self._abort_soon()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX:
            self._give_up_parsing()

    def _give_up_parsing(self) -> None:
        self._too_large = True
        raise ValueError("the head is too large")  # the parser hands it on as an error of its own

    def _make_room(self) -> bool:
        """Close the connection that has waited longest, first those without any request so far."""
        others = [
            it
            for it in self.connections
            if isinstance(it, BoundedProtocol) and it is not self and it.is_waiting and not it.transport.is_closing()
        ]
        if not others:
            return False
        oldest = min(others, key=lambda it: (it._served, it._waiting_since))  # noqa: SLF001 - one of us
        oldest.transport.abort()
        return True

    def _wait_for_head(self) -> None:
        self._waiting_since = self.loop.time()
        self._start_timer(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
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
        """Answer with a problem and close. A caller whose earlier request is not answered yet is cut off at once."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_problem(status))
        if status != 503 and self.transport.can_write_eof():  # noqa: PLR2004 - there is no room for waiting then
            self.transport.write_eof()  # and what still comes is thrown away: closing at once would lose the answer
            self._refused = True
        else:
            self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        """Abort a closing connection after `CLOSE_SECONDS`, even if the caller has not read the last answer."""
        self._start_timer(CLOSE_SECONDS, self.transport.abort)
