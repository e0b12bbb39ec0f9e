"""The worker's HTTP port for metrics and health. It runs in a thread, so it responds while the loop is busy."""

import hmac
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread, Timer
from typing import Any

from aigen_bridge.domain.request import Step
from aigen_bridge.metrics import LOOPS
from aigen_bridge.metrics.expose import MEDIA_TYPE, as_text
from aigen_bridge.sockets import authority, bind

HEARD_SECONDS = 45.0
"""The listener queries the database every 10 seconds. A database that has not answered for this long is away."""
SCRAPE_SECONDS = 10.0
"""For a whole scrape, from connecting to the last byte. A slower caller is disconnected."""
SCRAPES_MAX = 16
"""Concurrent callers. A further one takes the place of the oldest, so that a probe is answered."""


def may_scrape(token: str | None, authorization: str | None) -> bool:
    """Returns whether a scrape with this `Authorization` header is allowed. Without a `token`, all are."""
    if token is None:
        return True
    scheme, _, given = " ".join((authorization or "").split()).partition(" ")
    known = hmac.compare_digest(given.encode(errors="replace"), token.encode())
    return known and scheme.lower() == "bearer"


@dataclass(frozen=True, slots=True)
class PortRules:
    """The rules by which the port answers. `token` returns the bearer token that a scrape needs now.

    A lane that has not looked for entries for `patience` stands still.
    """

    patience: timedelta
    token: Callable[[], str | None] = lambda: None
    metrics: bool = True


@contextmanager
def metrics_port(host: str, port: int, rules: PortRules) -> Iterator[str]:
    """Serves `GET /metrics`, `/health/live` and `/health/ready` during the block. Yields the address of the metrics.

    Raises OSError when the port is taken.
    """
    try:
        server = _Server((host, port), _handler(rules))
    except OSError as error:
        raise OSError(f"AIGEN_WORKER__METRICS_PORT: {error}") from error
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{authority(host, server.server_port)}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def database_answers() -> bool:
    """Returns whether the database answered on the listener's connection within the last `HEARD_SECONDS`."""
    at = _rounds().get("listen")
    return at is not None and time.time() - at < HEARD_SECONDS


def standing_still(patience: timedelta) -> str | None:
    """Returns why the worker does not work: no lane has begun, or some stand still. None if all lanes go round.

    Every lane goes round while the database or a destination is away. Only a blocked event loop or a bug stops one.
    """
    lanes = {loop: at for loop, at in _rounds().items() if loop.partition(":")[0] in set(Step)}
    if not lanes:
        return "The worker has not begun to work."
    late = sorted(name for name, at in lanes.items() if time.time() - at > patience.total_seconds())
    seconds = f"{patience.total_seconds():.0f}"
    return f"Lanes that have not looked for work for {seconds} s: {', '.join(late)}." if late else None


def _rounds() -> dict[str, float]:
    """Returns when each loop of this worker began its last round, in seconds since the epoch."""
    return {sample.labels["loop"]: sample.value for family in LOOPS.collect() for sample in family.samples}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Binds as the other servers do, also to IPv6."""
        self.socket.close()
        self.socket = bind(str(self.server_address[0]), int(self.server_address[1]))
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def __init__(self, *arguments: Any) -> None:
        self._served: OrderedDict[socket.socket, None] = OrderedDict()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves the request in a thread of its own. Disconnects the oldest caller if there are too many."""
        self._served[request] = None
        if len(self._served) > SCRAPES_MAX:
            _disconnect(self._served.popitem(last=False)[0])
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves the request, and disconnects the caller at the deadline."""
        deadline = Timer(SCRAPE_SECONDS, _disconnect, [request])
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._served.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing: a scraper that disconnects is not an error."""


def _disconnect(connection: socket.socket) -> None:
    """Ends another thread's reads and writes on this connection."""
    with suppress(OSError):  # already closed
        connection.shutdown(socket.SHUT_RDWR)


def _handler(rules: PortRules) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "aigen-bridge", ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/health/live":
                self._health(standing_still(rules.patience))
            elif path == "/health/ready":
                self._health(None if database_answers() else "The database does not answer.")
            elif path != "/metrics":
                self._respond(404, b"There are only /metrics, /health/live and /health/ready here.\n")
            elif not rules.metrics:
                self._respond(404, b"Metrics are switched off (AIGEN_METRICS__ENABLED).\n")
            elif not may_scrape(rules.token(), self.headers.get("Authorization")):
                self._respond(401, b"The bearer token of AIGEN_METRICS__TOKEN is missing or wrong.\n")
            else:
                self._respond(200, as_text())

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the library's name
            """Logs nothing: scrapes are routine, and a caller's input does not belong in the log."""

        def _health(self, failure: str | None) -> None:
            self._respond(503 if failure else 200, f"{failure or 'ok'}\n".encode())

        def _respond(self, status: int, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", MEDIA_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
