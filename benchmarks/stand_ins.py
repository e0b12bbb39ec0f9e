"""Stand-ins for N8N's webhook and Odoo at minimal cost, in a separate process, because the bridge is measured.

`python -m benchmarks.stand_ins webhook|odoo PORT`. GET /stats returns the counts; POST /delay?SECONDS delays responses.
The simulators of `aigen_bridge.sim` validate, draw and call back, and use more CPU than the bridge itself.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

TAKEN = b'{"taken": true}'
KNOWN = {"applied": True, "recordId": 1, "attachmentId": 1}
VERSION = {"server_version": "18.0", "server_version_info": [18, 0, 0, "final", 0, ""]}


@dataclass
class Calls:
    """Counts of the received calls and of concurrent ones, and the arrival time of the last one (CLOCK_MONOTONIC)."""

    calls: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    last_at: float = 0.0
    delay: float = field(default=0.0, repr=False)


class Connection(asyncio.Protocol):
    """One connection: reads complete calls and writes responses."""

    def __init__(self, kind: str, seen: Calls) -> None:
        self._kind, self._seen, self._buffer = kind, seen, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport for the responses."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Responds to each complete call."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            size = end + 4 + _length(head)
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            self._call(head.split(b" ", 2)[1].decode(), body)

    def _call(self, path: str, body: bytes) -> None:
        if path == "/stats":
            self._answer(json.dumps(asdict(self._seen)).encode())
        elif path.startswith("/delay?"):
            self._seen.delay = float(path.partition("?")[2])
            self._seen.most_in_flight = 0
            self._answer(b"{}")
        elif path == "/web/webclient/version_info":
            self._answer(_result(body, VERSION))
        else:
            self._take(body)

    def _take(self, body: bytes) -> None:
        seen = self._seen
        seen.calls, seen.in_flight, seen.last_at = seen.calls + 1, seen.in_flight + 1, time.monotonic()
        seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
        answer = TAKEN if self._kind == "webhook" else _odoo(body)
        if seen.delay:
            asyncio.get_running_loop().call_later(seen.delay, self._done, answer)
        else:
            self._done(answer)

    def _done(self, answer: bytes) -> None:
        self._seen.in_flight -= 1
        self._answer(answer)

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


def _length(head: bytes) -> int:
    found = head.lower().partition(b"\r\ncontent-length:")[2]
    return int(found.partition(b"\r\n")[0] or 0)


def _odoo(body: bytes) -> bytes:
    """Builds the JSON-RPC response: a user id for a login, the addon's result for everything else."""
    is_login = json.loads(body)["params"].get("service") == "common"
    return _result(body, 2 if is_login else KNOWN)


def _result(body: bytes, result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": json.loads(body).get("id"), "result": result}).encode()


async def main(kind: str, port: int) -> None:
    """Serves until the process is stopped."""
    seen = Calls()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(kind, seen), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
