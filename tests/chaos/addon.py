"""The client: makes requests as Odoo's addon does, and repeats the same requestId and content until it is answered."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count

import httpx

from chaos.ground import KEYS, REQUESTS
from chaos.promises import Promises
from chaos.schedule import Order

SECONDS = 3.0
"""Timeout of one attempt."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
IN_HAND = 50
"""Maximum number of concurrent calls, with their repetitions. More would slow down a slow machine further."""
RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})


class RefusedError(Exception):
    """The API refused a call that it must not refuse."""


class Addon:
    """Calls all API processes in turn and records their promises."""

    def __init__(self, apis: Sequence[httpx.AsyncClient], promises: Promises) -> None:
        self.accepted: set[str] = set()
        self.cancelled: set[str] = set()
        """Requests whose cancellation was answered with 200."""
        self.refused: list[str] = []
        """Wrong responses: 409 for the same content, any other refusal, a repeat accepted as new."""
        self.answers: Counter[str] = Counter()
        self._apis = apis
        self._promises = promises
        self._turns = count()
        self._in_hand = asyncio.Semaphore(IN_HAND)

    async def carry_out(self, order: Order) -> None:
        """Repeats the request until it is accepted, then repeats and cancels it if the order includes that."""
        try:
            first = await self._insist(REQUESTS, order, {200, 202})
            self.accepted.add(order.request_id)
            await asyncio.gather(self._ask_again(order), self._cancel(order))
        except RefusedError as error:
            self.refused.append(f"{order.request_id}: {error}")
        else:
            self._check_identity(order, first)

    async def _ask_again(self, order: Order) -> None:
        if order.ask_again_after is not None:
            await asyncio.sleep(order.ask_again_after)
            answer = await self._insist(REQUESTS, order, {200, 202})
            if answer.status_code == httpx.codes.ACCEPTED:
                raise RefusedError("what was accepted once was accepted as new again")

    async def _cancel(self, order: Order) -> None:
        if order.cancel_after is not None:
            await asyncio.sleep(order.cancel_after)
            answer = await self._insist(f"{REQUESTS}/{order.request_id}/cancel", order, {200, 409})
            if answer.status_code == httpx.codes.OK:
                self.cancelled.add(order.request_id)

    def _check_identity(self, order: Order, answer: httpx.Response) -> None:
        if answer.json()["requestId"] != order.request_id:
            self.refused.append(f"{order.request_id}: answered with another request")

    async def _insist(self, path: str, order: Order, good: set[int]) -> httpx.Response:
        async with self._in_hand:
            return await self._insist_in_turn(path, order, good)

    async def _insist_in_turn(self, path: str, order: Order, good: set[int]) -> httpx.Response:
        pause = FIRST_PAUSE
        while True:
            answer = await self._try(path, order)
            if answer is not None and answer.status_code in good:
                return answer
            if answer is not None and answer.status_code not in RETRYABLE:
                raise RefusedError(f"{path} answered {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, path: str, order: Order) -> httpx.Response | None:
        number = next(self._turns) % len(self._apis)
        headers = {"X-API-Key": KEYS["odoo"]}
        try:
            answer = await self._apis[number].post(path, json=order.event, headers=headers, timeout=SECONDS)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return None
        if answer.is_success:
            self._promises.made(number)
        self.answers[str(answer.status_code)] += 1
        return answer
