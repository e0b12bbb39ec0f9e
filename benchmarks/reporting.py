"""Reports the progress of running requests at a fixed rate, as N8N does, until it is terminated. A separate process.

`python -m benchmarks.reporting URL IDS PER_SECOND`; IDS is a file with one request id per line. Prints the number of
reports and their response times as JSON. Each report is due at its time, however slow the earlier ones are. It writes
HTTP itself, because httpx would use more CPU than the bridge.
"""

import asyncio
import json
import signal
import statistics
import sys
import time
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from aigen_bridge.contracts.examples import CORRELATION_ID
from benchmarks.waiting import PATIENCE

PATH = "/api/v1/influencegen/ai-image-requests"
KEY = "benchmark-key-of-n8n"
EXECUTION_ID = "231"
"""The N8N execution that polls the jobs of all requests."""
CONNECTIONS = 50
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Reporter:
    """Sends reports over connections that stay open. `times` are the response times in seconds."""

    def __init__(self, url: str) -> None:
        self.times: list[float] = []
        self._address = urlsplit(url)
        self._free: asyncio.Queue[Connection] = asyncio.Queue()

    async def connect(self) -> None:
        """Opens the connections."""
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection(self._address.hostname, self._address.port))

    async def report(self, request_id: str, number: int) -> None:
        """Sends one report. Raises `RuntimeError` if the answer is not a 200, `TimeoutError` if there is none."""
        began = time.monotonic()
        reader, writer = connection = await self._free.get()
        writer.write(self._call(request_id, percent=number % 100))
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"A progress report was refused:\n{head.decode()}{answer.decode()}")
        self.times.append(time.monotonic() - began)
        self._free.put_nowait(connection)

    def _call(self, request_id: str, *, percent: int) -> bytes:
        told = {"correlationId": CORRELATION_ID, "executionId": EXECUTION_ID, "stage": "generating", "percent": percent}
        body = json.dumps(told)
        head = (
            f"PUT {PATH}/{request_id}/generation/progress HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"X-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return f"{head}{body}".encode()


async def main(url: str, ids: list[str], per_second: float) -> None:
    """Reports for one request after another until SIGTERM."""
    reporter, stopped = Reporter(url), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await reporter.connect()
    began = time.monotonic()
    async with asyncio.TaskGroup() as reports:
        for number in count():
            if stopped.is_set():
                break
            reports.create_task(reporter.report(ids[number % len(ids)], number))
            await asyncio.sleep(max(0, began + (number + 1) / per_second - time.monotonic()))
    seconds, times = time.monotonic() - began, [1000 * each for each in reporter.times]
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    print(json.dumps({"per_second": len(times) / seconds, "p50_ms": p50, "p95_ms": p95}))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]).read_text().split(), float(sys.argv[3])))
