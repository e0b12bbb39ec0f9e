"""N8N's webhook and Odoo as cheap as can be, in a process of their own: what is measured is the bridge, not they.

`python -m benchmarks.stand_ins webhook|odoo PORT`. GET /stats tells what came; POST /delay?SECONDS makes answers slow.
The simulators of `aigen_bridge.sim` do more (they check, draw, and call back) and cost more than the bridge itself.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

TAKEN = b'{"taken": true}'
KNOWN = {"applied": True, "recordId": 1, "attachmentId": 1}


@dataclass
class Calls:
    """What came: how many calls, how many at once, and when the last one arrived (CLOCK_MONOTONIC)."""

    calls: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    last_at: float = 0.0
    delay: float = field(default=0.0, repr=False)


class Door(asyncio.Protocol):
    """One connection: whole calls in, answers out."""

    def __init__(self, kind: str, seen: Calls) -> None:
        self._kind, self._seen, self._buffer = kind, seen, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each call that is complete."""
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
    """JSON-RPC: a login answers with a user's number, everything else as the addon does."""
    call = json.loads(body)
    result = 2 if call["params"].get("service") == "common" else KNOWN
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()


async def main(kind: str, port: int) -> None:
    """Serve until somebody ends it."""
    seen = Calls()
    server = await asyncio.get_running_loop().create_server(lambda: Door(kind, seen), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
