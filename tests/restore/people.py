"""Callers who ask for images until they are answered, and send again what the bridge forgot, as Odoo does."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from restore.bridge import Bridge
from stage import KEYS, REQUESTS, make_event

ENDED = frozenset({"completed", "failed", "cancelled"})
OF_ODOO = {"X-API-Key": KEYS["odoo"]}


@dataclass
class People:
    """The requests that were made. Each has a record in Odoo from the start."""

    bridge: Bridge
    per_second: float
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    """Requests that were answered with 202 or 200."""
    answers: Counter[str] = field(default_factory=Counter)
    unanswered: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask_on_and_on(self) -> None:
        """Asks for images until cancelled. Callers do not wait for each other."""
        began = time.monotonic()
        for number in count(1):
            event = make_event()
            self.events[event["requestId"]] = event
            self.bridge.chain.odoo.records.create(event["requestId"])
            self.unanswered.add(task := asyncio.create_task(self.send(event)))
            task.add_done_callback(self.unanswered.discard)
            await asyncio.sleep(began + number / self.per_second - time.monotonic())

    async def send(self, event: dict[str, Any]) -> None:
        """Sends a request until it is accepted."""
        while True:
            try:
                answer = await self.bridge.api.post(REQUESTS, json=event, headers=OF_ODOO)
            except httpx.TransportError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code in {200, 202}:
                    self.accepted.add(event["requestId"])
                    return
                assert answer.status_code in {429, 503}, answer.text
            await asyncio.sleep(0.5)

    def waiting(self) -> set[str]:
        """Returns the requests that were accepted and have not ended in Odoo."""
        records = self.bridge.chain.odoo.records
        return {name for name in self.accepted if records[name].status not in ENDED}

    def reported(self) -> frozenset[str]:
        """Returns the requests whose image the bridge has taken from N8N and Odoo has not got."""
        taken = {attempt.request_id for attempt in self.bridge.chain.n8n.attempts if attempt.error is None}
        return frozenset(taken & self.waiting())

    async def reconcile(self) -> int:
        """Sends again what waits and the bridge does not know, as Odoo's scheduled action does. Returns how many."""
        forgotten = []
        waiting = sorted(self.waiting())
        for some in (waiting[start : start + 100] for start in range(0, len(waiting), 100)):
            answer = await self.bridge.api.get(REQUESTS, params={"ids": ",".join(some)}, headers=OF_ODOO)
            known = {each["requestId"] for each in answer.raise_for_status().json()["items"]}
            forgotten += [self.events[name] for name in some if name not in known]
        await asyncio.gather(*(self.send(event) for event in forgotten))
        return len(forgotten)
