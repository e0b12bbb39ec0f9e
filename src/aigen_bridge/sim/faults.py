"""Fault injection: the kinds of faults, and the queue that decides where and how often they occur."""

import random
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import ConfigDict


class FaultKind(StrEnum):
    """The kinds of faults. Every simulator supports the common kinds and those that name it."""

    STATUS = "status"
    """Respond with `status` (and `retry_after`, `location`) without handling the call."""
    PAGE = "page"
    """Respond with `status` and an HTML page (`detail` or a default), as a proxy does, without handling the call."""
    BODY = "body"
    """Respond with `status` and the body `detail` as JSON, whatever it is, without handling the call."""
    DELAY = "delay"
    """Wait `delay` seconds, then handle the call as usual. Every other kind at an endpoint, except `delay_after`, also
    waits its `delay` first."""
    DELAY_AFTER = "delay_after"
    """Handle the call, then wait `delay` seconds before responding, so that the caller may have given up."""
    DROP = "drop"
    """Cut the connection without handling the call."""
    DROP_AFTER = "drop_after"
    """Handle the call, then cut the connection instead of responding."""
    STATUS_AFTER = "status_after"
    """Handle the call, then respond with `status` and a proxy's page, as after the proxy's timeout."""

    NO_IMAGE = "no_image"
    """Flux, `generate`: a successful response with an empty list of images."""
    NSFW = "nsfw"
    """Flux, `generate`: the safety checker finds the image unsafe (`has_nsfw_concepts`)."""
    FAIL_JOB = "fail_job"
    """Flux, `generate`: the job is accepted, runs and ends with `status`, `name` and `detail`: an infrastructure error
    (429, 500, 502, 503, 504; not billed) or an error of the model (any other status; billed)."""
    SLOW_JOB = "slow_job"
    """Flux, `generate`: the job takes `delay` seconds longer."""
    WRONG_DIMENSIONS = "wrong_dimensions"
    """Flux, `generate`, and N8N, `callback`: a wrong width and height."""
    WRONG_SIZE = "wrong_size"
    """Flux, `generate`, and N8N, `callback`: a wrong size in bytes."""
    TRUNCATED_IMAGE = "truncated_image"
    """Flux, `image`, and N8N, `callback`: the first half of the file (N8N: with the hash and size of that half)."""
    EXPIRED_URL = "expired_url"
    """Flux, `image`: 404. N8N, `callback` with an imageUrl: a URL that does not exist."""

    WRONG_HASH = "wrong_hash"
    """N8N, `callback`: a wrong hash."""
    WRONG_SIGNATURE = "wrong_signature"
    """N8N, `callback`: signed with the wrong secret (only when signing is configured)."""
    WRONG_KEY = "wrong_key"
    """N8N, `callback`: sent with the wrong API key."""
    MALFORMED = "malformed"
    """N8N, `callback`: an authenticated event without its required fields."""
    DUPLICATE = "duplicate"
    """N8N, `callback`: sent twice, the second time `delay` seconds after the response to the first."""
    CONTRADICT = "contradict"
    """N8N, `callback`: followed by a failed event for the same request."""
    LOSE_CALLBACK = "lose_callback"
    """N8N, `callback`: the execution ends without a callback or a report, as when N8N is killed."""
    WORKFLOW_BUG = "workflow_bug"
    """N8N, `callback`: the workflow crashes after asking whether the image is wanted, and N8N reports the crash."""
    AI_ERROR = "ai_error"
    """N8N, `callback`: the AI service fails with code `name` and message `detail`."""
    CALLBACK_FIRST = "callback_first"
    """N8N, `webhook`: the callback is sent and answered before the webhook call is acknowledged."""

    KILL = "kill"
    """N8N, at a node (see `n8n_nodes.Node`): N8N is killed when an execution reaches the node, refuses connections for
    `delay` seconds, and starts again. Every running execution vanishes."""
    PAUSE = "pause"
    """N8N, at a node: N8N stands still for `delay` seconds as after SIGSTOP: executions wait, connections hang. With
    0, until `POST /_sim/wake`."""

    ODOO_ERROR = "odoo_error"
    """Odoo, `jsonrpc` and `json2`: an exception of class `name` with message `detail`, as Odoo sends it there."""


COMMON_KINDS = frozenset(
    {
        FaultKind.STATUS,
        FaultKind.PAGE,
        FaultKind.BODY,
        FaultKind.DELAY,
        FaultKind.DELAY_AFTER,
        FaultKind.DROP,
        FaultKind.DROP_AFTER,
        FaultKind.STATUS_AFTER,
    }
)
"""Kinds that every endpoint supports. N8N's `callback` is not an endpoint and supports only `delay`."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault to inject. Raises ValueError for values out of range."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: FaultKind
    """The kind of the fault."""
    route: str | None = None
    """The endpoint at which it may occur (`generate`, `image`, `webhook`, …); None: the first that supports it."""
    request_id: str | None = None
    """N8N, `callback` and nodes: the request whose executions it may affect; None: any."""
    times: int | None = 1
    """Number of occurrences; None: until cleared."""
    chance: float = 1.0
    """Probability, from 0 to 1, that it occurs at an opportunity. An opportunity without a fault does not use up
    `times`."""
    status: int = 503
    """HTTP status, for the kinds that respond with one."""
    delay: float = 0.0
    """Seconds."""
    retry_after: float | str | None = None
    """Seconds, or any text, sent as `Retry-After` with `status`."""
    location: str = ""
    """Sent as `Location` with `status`, as a proxy does that redirects."""
    name: str = ""
    """Class or code of the error: Odoo's exception class, fal's error_type, the AI service's error code."""
    detail: str = ""
    """Message of the error."""

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ValueError("chance must lie between 0 and 1")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be 1 or more, or null for always")
        if self.delay < 0:
            raise ValueError("delay must not be negative")


class Faults:
    """The fault queue of one simulator. The oldest matching fault occurs first."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable chaos, not secrecy
        self._queue: list[Fault] = []
        self.taken: Counter[str] = Counter()
        """Number of faults that occurred, by `route:kind`."""

    def add(self, *faults: Fault) -> None:
        """Appends faults to the queue."""
        self._queue.extend(faults)

    def take(
        self,
        route: str,
        kinds: Collection[FaultKind] = COMMON_KINDS,
        request_id: object = None,
        *,
        if_named: bool = False,
    ) -> Fault | None:
        """Takes the oldest fault that is one of `kinds`, may occur at `route` and passes its `chance`; None if none.

        `if_named`: only faults that name the route.
        """
        routes = (route,) if if_named else (None, route)
        for fault in self._queue:
            fits = fault.kind in kinds and fault.route in routes and fault.request_id in (None, request_id)
            if fits and self._random.random() < fault.chance:
                self._use(fault)
                self.taken[f"{route}:{fault.kind}"] += 1
                return fault
        return None

    def clear(self) -> None:
        """Removes every queued fault."""
        self._queue.clear()

    def as_json(self) -> dict[str, Any]:
        """Returns the queued faults and the counts of those that occurred."""
        return {"queued": [asdict(fault) for fault in self._queue], "taken": dict(self.taken)}

    def _use(self, fault: Fault) -> None:
        if fault.times is None:
            return
        place = self._queue.index(fault)
        if fault.times > 1:
            self._queue[place] = replace(fault, times=fault.times - 1)
        else:
            del self._queue[place]
