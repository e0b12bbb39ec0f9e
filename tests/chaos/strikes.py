"""Kills, pauses and restarts processes according to the schedule."""

import asyncio
import contextlib
import signal
from collections import Counter
from dataclasses import dataclass, field

import psycopg

from chaos.absence import Absences
from chaos.postgres import Postgres
from chaos.promises import Promises
from chaos.schedule import Kind, Strike
from chaos.sky import Sky
from chaos.storage import ImagesAt, unmounted
from chaos.supervisor import Place, Supervisor
from image_stores import Folder
from silent_link import Link

SEIZE_SECONDS, TAKE_OVER_SECONDS = 8.0, 15.0
DELIVERS = """
    SELECT count(*) AS entries FROM outbox
    WHERE state = 'pending' AND step = 'deliver' AND lease_owner LIKE '%:{pid}'
"""
"""Only deliveries: N8N's callback would end a dispatch before another worker takes over."""


@dataclass
class Striker:
    """Carries out strikes; `done` counts them."""

    supervisor: Supervisor
    database: Postgres
    link: Link
    absences: Absences
    sky: Sky
    promises: Promises
    storage: ImagesAt | None
    done: Counter[str] = field(default_factory=Counter)
    _link_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _folder_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def strike(self, strike: Strike) -> None:
        """Carries out one strike and waits until its target is back."""
        if strike.kind is Kind.CRASH:
            await self.database.crash(strike.seconds, self.promises.strike)
        elif strike.target == "link":
            await self._silence(strike)
        elif strike.kind is Kind.UNMOUNT:
            await self._unmount(strike)
        else:
            place = self.supervisor.places[strike.target]
            async with place.lock:  # a target that is down is struck when it is back
                await self._strike(strike, place)
        self.done[f"{strike.kind} {strike.target}"] += 1

    async def _strike(self, strike: Strike, place: Place) -> None:
        await self.sky.look(place.name)
        match strike.kind:
            case Kind.PAUSE:
                await self._seize(place)
                await asyncio.sleep(strike.seconds)
                await self._let_others_take_over(place)
                place.send(signal.SIGCONT)
                return
            case Kind.RESTART:
                await self.absences.restart(strike, place)
                await self.sky.renew(place.name)
                return
            case Kind.ROLL:
                await self.supervisor.stop(place)
            case _:
                await self._seize(place)
                await self.supervisor.kill(place)
                await asyncio.sleep(strike.seconds)
        await self.supervisor.start(place)
        await self.sky.renew(place.name)

    async def _silence(self, strike: Strike) -> None:
        async with self._link_lock:
            await self.promises.strike(self.link.fall_silent)
            await asyncio.sleep(strike.seconds)
            self.link.restore(strike.after)

    async def _unmount(self, strike: Strike) -> None:
        assert isinstance(self.storage, Folder)
        async with self._folder_lock:
            with unmounted(self.storage):
                await asyncio.sleep(strike.seconds)

    async def _seize(self, place: Place) -> None:
        """Stops a process with SIGSTOP.

        Waits a limited time for a good moment: an API process has just promised something, a worker is delivering.
        """
        if place.name.startswith("api"):
            await self.promises.strike(lambda: place.send(signal.SIGSTOP), by=place.name)
            return
        if place.name.startswith("worker"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._seize_delivering(place), SEIZE_SECONDS)
        place.send(signal.SIGSTOP)

    async def _seize_delivering(self, place: Place) -> None:
        while True:
            if await self._delivers(place):
                place.send(signal.SIGSTOP)
                if await self._delivers(place):  # still delivering, and now it cannot finish
                    return
                place.send(signal.SIGCONT)
            await asyncio.sleep(0.02)

    async def _let_others_take_over(self, place: Place) -> None:
        """Waits until other workers have the entries of a paused worker. On a slow machine that exceeds the lease."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TAKE_OVER_SECONDS):
                while place.name.startswith("worker") and await self._delivers(place):
                    await asyncio.sleep(0.1)

    async def _delivers(self, place: Place) -> bool:
        with contextlib.suppress(psycopg.Error):
            rows = await asyncio.to_thread(self.database.read, DELIVERS.format(pid=place.pid))
            return bool(rows[0]["entries"])
        return False
