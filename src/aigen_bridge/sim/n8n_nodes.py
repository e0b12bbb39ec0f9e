"""The nodes of the workflow at which N8N can be killed or paused."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

Reach = Callable[["Node", str], Awaitable[None]]
"""Called by an execution, with its request's id, when it reaches a node. Returns when it may go on."""


class Node(StrEnum):
    """A place in an execution. Its value is the `route` of the faults `kill` and `pause`."""

    BEFORE_ASK = "before_ask"
    """The bridge is about to be asked whether the paid work may start."""
    AFTER_ASK = "after_ask"
    """The bridge has answered; nothing is submitted yet."""
    WHILE_SUBMITTING = "while_submitting"
    """The job is sent to the AI service, which has not answered yet."""
    BEFORE_JOB = "before_job"
    """The AI service has accepted the job, and the bridge does not know it yet."""
    AFTER_JOB = "after_job"
    """The bridge has answered to the job's name."""
    WHILE_POLLING = "while_polling"
    """The AI service is about to be asked for the job's status."""
    BEFORE_FETCHING = "before_fetching"
    """The job is completed; its output is not fetched yet."""
    BEFORE_CALLBACK = "before_callback"
    """The image is fetched; the bridge does not have it yet."""
    WHILE_CALLING_BACK = "while_calling_back"
    """The callback is sent, and the bridge has not answered yet."""


def once_sent(reach: Reach, node: Node, request_id: str) -> dict[str, Any]:
    """Returns the extensions of an HTTP call that reaches `node` when its last byte is sent."""

    async def trace(event: str, _details: dict[str, Any]) -> None:
        if event == "http11.send_request_body.complete":
            await reach(node, request_id)

    return {"trace": trace}
