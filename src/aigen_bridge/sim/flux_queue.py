"""The AI service's queue API: submit, status, result, cancel."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

Output = dict[str, Any]


class Jobs:
    """Generations that run in the background, by request id."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Output]] = {}

    def submit(self, generation: Coroutine[Any, Any, Output], queue_url: str) -> Response:
        """Starts a generation and responds with its status, result and cancel URLs."""
        name = str(uuid4())
        self._tasks[name] = asyncio.create_task(generation)
        return JSONResponse({"status": "IN_QUEUE", "queue_position": 0, **_urls(queue_url, name)})

    def status(self, name: str, queue_url: str) -> Response:
        """Responds with 202 while the job runs, 200 when it has ended (successfully or not), 404 for an unknown id."""
        task = self._tasks.get(name)
        if task is None:
            return _unknown(name)
        if not task.done():
            return JSONResponse({"status": "IN_PROGRESS", **_urls(queue_url, name)}, 202)
        ending = {"error": "Request was cancelled"} if task.cancelled() else {}
        return JSONResponse({"status": "COMPLETED", **_urls(queue_url, name), **ending})

    def result(self, name: str) -> Response:
        """Responds with the output, or with 400 while there is none."""
        task = self._tasks.get(name)
        if task is None:
            return _unknown(name)
        if not task.done():
            return JSONResponse({"detail": "Request is still in progress"}, 400)
        if task.cancelled():
            return JSONResponse({"detail": "Request was cancelled"}, 400)
        return JSONResponse(task.result())

    def cancel(self, name: str) -> Response:
        """Cancels a job that is still running."""
        task = self._tasks.get(name)
        if task is None:
            return _unknown(name)
        if not task.cancel():
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    async def close(self) -> None:
        """Cancels every job and waits until all have ended."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _urls(queue_url: str, name: str) -> dict[str, str]:
    base = f"{queue_url}/requests/{name}"
    return {
        "request_id": name,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
    }


def _unknown(name: str) -> Response:
    return JSONResponse({"detail": f"Request {name} not found"}, 404)
