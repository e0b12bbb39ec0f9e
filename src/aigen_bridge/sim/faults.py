"""Faults on command: what shall go wrong, where, how often and with which probability."""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import ConfigDict


class FaultKind(StrEnum):
    """Everything that can go wrong; each simulator honours the common kinds and its own."""

    STATUS = "status"
    """Answer with `status` (and `retry_after`); nothing else happens."""
    PAGE = "page"
    """Answer with `status` and an HTML page, `detail` or one of its own, as a proxy does; nothing else happens."""
    DELAY = "delay"
    """Wait `delay` seconds, then go on as usual. Every other kind waits its `delay` first, too."""
    DROP = "drop"
    """Cut the connection before anything happened."""
    DROP_AFTER = "drop_after"
    """Let it happen, then cut the connection instead of answering."""
    STATUS_AFTER = "status_after"
    """Let it happen, then answer with `status`, as a proxy does whose patience ended."""

    NO_IMAGE = "no_image"
    """Flux, `generate`: a good answer with an empty list of images."""
    WRONG_DIMENSIONS = "wrong_dimensions"
    """Flux, `generate`, and N8N, `callback`: width and height that are not the image's."""
    WRONG_SIZE = "wrong_size"
    """Flux, `generate`, and N8N, `callback`: a size in bytes that is not the image's."""
    TRUNCATED_IMAGE = "truncated_image"
    """Flux, `image`, and N8N, `callback`: half of the file (N8N: with the hash and size of that half)."""
    EXPIRED_URL = "expired_url"
    """Flux, `image`: answers 404. N8N, `callback` with an imageUrl: the URL leads nowhere."""

    WRONG_HASH = "wrong_hash"
    """N8N, `callback`: a hash that is not the image's."""
    WRONG_SIGNATURE = "wrong_signature"
    """N8N, `callback`: signed with another secret (only when signing is configured)."""
    WRONG_KEY = "wrong_key"
    """N8N, `callback`: sent with another API key."""
    MALFORMED = "malformed"
    """N8N, `callback`: a well-authenticated event that misses its required fields."""
    DUPLICATE = "duplicate"
    """N8N, `callback`: sent twice, the second `delay` seconds after the first was answered."""
    CONTRADICT = "contradict"
    """N8N, `callback`: followed by a failed event for the same request."""
    LOSE_CALLBACK = "lose_callback"
    """N8N, `callback`: the execution dies without a trace, as when N8N is killed."""
    WORKFLOW_BUG = "workflow_bug"
    """N8N, `callback`: the workflow crashes after it has asked whether the image is wanted, and N8N reports that."""
    AI_ERROR = "ai_error"
    """N8N, `callback`: the AI service failed with code `name` and message `detail`."""
    CALLBACK_FIRST = "callback_first"
    """N8N, `webhook`: the callback is sent and answered before the webhook is acknowledged."""

    ODOO_ERROR = "odoo_error"
    """Odoo, `jsonrpc`: a fault of exception class `name` with message `detail`, inside HTTP 200."""


COMMON_KINDS = frozenset(
    {
        FaultKind.STATUS,
        FaultKind.PAGE,
        FaultKind.DELAY,
        FaultKind.DROP,
        FaultKind.DROP_AFTER,
        FaultKind.STATUS_AFTER,
    }
)
"""Kinds that every endpoint honours; N8N's `callback`, which is no endpoint, honours `delay` alone."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that shall go wrong. Raises ValueError for numbers that make no sense."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: FaultKind
    """What goes wrong."""
    route: str | None = None
    """The only place where it may happen (`generate`, `image`, `webhook`, …); None: the first that can."""
    request_id: str | None = None
    """N8N, `callback`: the only request whose executions it may happen to; None: any."""
    times: int | None = 1
    """How often; None: until cleared."""
    chance: float = 1.0
    """Probability, 0 to 1, that it happens at an opportunity; one that passes by is not counted."""
    status: int = 503
    """HTTP status, for the kinds that answer with one."""
    delay: float = 0.0
    """Seconds."""
    retry_after: float | None = None
    """Seconds, sent as `Retry-After` with `status`."""
    name: str = ""
    """The error's class or code: Odoo's exception class, fal's error_type, the AI's error code."""
    detail: str = ""
    """The error's message."""

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ValueError("chance must lie between 0 and 1")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be 1 or more, or null for always")
        if self.delay < 0:
            raise ValueError("delay must not be negative")


class Faults:
    """The queue of faults of one simulator; the oldest that fits happens first."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chaos that can be repeated, not secrecy
        self._queue: list[Fault] = []
        self.taken: Counter[str] = Counter()
        """How many faults happened, by `route:kind`."""

    def add(self, *faults: Fault) -> None:
        """Put faults at the end of the queue."""
        self._queue.extend(faults)

    def take(self, route: str, kinds: Collection[FaultKind] = COMMON_KINDS, request_id: object = None) -> Fault | None:
        """Take the oldest fault that may happen at `route` and is one of `kinds`, if its chance comes up."""
        for fault in self._queue:
            fits = fault.kind in kinds and fault.route in (None, route) and fault.request_id in (None, request_id)
            if fits and self._random.random() < fault.chance:
                self._use(fault)
                self.taken[f"{route}:{fault.kind}"] += 1
                return fault
        return None

    def clear(self) -> None:
        """Forget every fault still queued."""
        self._queue.clear()

    def as_json(self) -> dict[str, Any]:
        """Return what is queued and what happened so far."""
        return {"queued": [asdict(fault) for fault in self._queue], "taken": dict(self.taken)}

    def _use(self, fault: Fault) -> None:
        if fault.times is None:
            return
        place = self._queue.index(fault)
        if fault.times > 1:
            self._queue[place] = replace(fault, times=fault.times - 1)
        else:
            del self._queue[place]
