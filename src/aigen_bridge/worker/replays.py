"""Works on background replays. Every worker does so; leases keep two of them from working on the same one."""

import asyncio
import contextlib
import os
import socket
from datetime import timedelta

import structlog

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.pipeline.replay_jobs import ReplayJobs

LOOK_EVERY = 1.0
"""Seconds between two looks for a background replay that is due."""

log = structlog.get_logger(__name__)


async def replay_regularly(jobs: ReplayJobs, lease: timedelta, stop: asyncio.Event) -> None:
    """Works on the background replays that are due, one after the other, until `stop` is set."""
    owner = f"{socket.gethostname()}:{os.getpid()}"
    while not stop.is_set():
        metrics.LOOPS.labels("replay").set_to_current_time()
        worked = False
        try:
            worked = await jobs.work(owner, lease, stop)
        except StoreUnavailableError as error:
            log.warning("store.unavailable", step="replay", reason=error.reason)
        except Exception:  # a bug must not end the worker
            log.exception("replay.bug")
        if not worked:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_EVERY)
