"""An execution of N8N whose steps a test takes itself: it asks, names its job, reports, and brings the picture."""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
from bridge_thread import Bridge

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import CALLBACK_V2
from stage import KEYS, REQUESTS

ACKNOWLEDGES = Fault(kind=FaultKind.BODY, route="webhook", status=200, detail='{"speaks": ["generation"]}', times=None)
"""An N8N that takes every request and does nothing: the test does it."""
AWAY = Fault(kind=FaultKind.STATUS, route="webhook", status=404, times=None)
LONG = 600
"""Seconds for which an execution may say nothing: a busy machine is no silence."""
SECONDS = 60
SIDE = 512
"""Pixels of a picture."""


@dataclass(frozen=True)
class Execution:
    """One execution for one request. `event` is what the webhook got."""

    bridge: Bridge
    event: dict[str, Any]
    number: str = "1"

    @property
    def request_id(self) -> UUID:
        """The id of the request."""
        return UUID(self.event["requestId"])

    def ask(self) -> str:
        """Asks for the grant and returns the decision."""
        return str(self._call("POST", "", askKey=str(uuid4()), quietFor=LONG)["decision"])

    def name_job(self, job_id: str = "7f") -> None:
        """Names the job that it submitted."""
        self._call("PUT", "/job", provider="fal", jobId=job_id)

    def report(self, stage: str, **progress: Any) -> None:
        """Reports how far the job is."""
        assert self._call("PUT", "/progress", stage=stage, quietFor=LONG, **progress)["wanted"]

    def deliver(self, **facts: Any) -> None:
        """Brings a picture, with `generation` and `cost` where given."""
        image = draw(self.event["prompt"], seed=self.event["seed"], width=SIDE, height=SIDE)
        described = {"format": "png", "size": len(image), "width": SIDE, "height": SIDE}
        event = {**self._ids, "status": "completed", "imageMetadata": described, **facts}
        event["hashValue"] = hashlib.sha256(image).hexdigest()
        parts: Any = {"event": (None, json.dumps(event)), "image": ("image.png", image, "image/png")}
        answer = httpx.post(self.bridge.url + CALLBACK_V2, files=parts, headers=_headers(), timeout=30)
        assert answer.status_code == 202, answer.text

    @property
    def _ids(self) -> dict[str, str]:
        known = {name: self.event[name] for name in ("requestId", "correlationId")}
        return known | {"executionId": self.number}

    def _call(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        url = f"{self.bridge.url}{REQUESTS}/{self.request_id}/generation{path}"
        answer = httpx.request(method, url, json=self._ids | fields, headers=_headers(), timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def _headers() -> dict[str, str]:
    return {"X-API-Key": KEYS["n8n"]}


def handed_over(bridge: Bridge, prompt: str) -> list[dict[str, Any]]:
    """Returns the events for this prompt that N8N has taken."""
    calls = bridge.chain.n8n.calls.to("webhook")
    return [dict(call.fields) for call in calls if call.fields["prompt"] == prompt and call.status == 200]


def execution(bridge: Bridge, prompt: str, *, number: int = 1) -> Execution:
    """Waits until N8N has taken the request for this prompt this many times, and returns the last execution."""
    deadline = time.monotonic() + SECONDS
    while len(events := handed_over(bridge, prompt)) < number:
        assert time.monotonic() < deadline, (
            f"N8N was handed “{prompt}” {len(events)} times in {SECONDS} s, not {number}"
        )
        time.sleep(0.05)
    return Execution(bridge, events[number - 1], str(number))
