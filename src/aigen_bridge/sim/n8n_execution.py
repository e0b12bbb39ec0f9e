"""One execution of the workflow, from the event to the callback, with injected faults."""

import asyncio
from dataclasses import replace

from aigen_bridge.sim.faults import Fault, FaultKind, Faults
from aigen_bridge.sim.n8n_ai import GenerationError
from aigen_bridge.sim.n8n_bridge import BridgeClient, WorkflowCrashedError
from aigen_bridge.sim.n8n_callbacks import CallbackSender, Undelivered
from aigen_bridge.sim.n8n_generation import SilentEndError
from aigen_bridge.sim.n8n_model import objection
from aigen_bridge.sim.n8n_nodes import Node, Reach
from aigen_bridge.sim.n8n_order import Order, Start, checked
from aigen_bridge.sim.n8n_paid_work import PaidWork, Work
from aigen_bridge.sim.n8n_pictures import distorted
from aigen_bridge.sim.n8n_results import Callback, completed, failed, refused
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.n8n_signatures import Credentials

CALLBACK_KINDS = frozenset(
    {
        FaultKind.DELAY,
        FaultKind.WRONG_HASH,
        FaultKind.WRONG_SIZE,
        FaultKind.WRONG_DIMENSIONS,
        FaultKind.TRUNCATED_IMAGE,
        FaultKind.EXPIRED_URL,
        FaultKind.WRONG_SIGNATURE,
        FaultKind.WRONG_KEY,
        FaultKind.MALFORMED,
        FaultKind.DUPLICATE,
        FaultKind.CONTRADICT,
        FaultKind.LOSE_CALLBACK,
        FaultKind.WORKFLOW_BUG,
        FaultKind.AI_ERROR,
    }
)
"""The faults that may occur between the acknowledgement and the end of the execution."""
OTHER_SECRET = "whsec_bm90IHRoZSBzZWNyZXQ="  # noqa: S105 - wrong on purpose


class Workflow:
    """The published workflow. Appends undelivered callbacks to `dead`."""

    def __init__(
        self,
        settings: N8nSettings,
        faults: Faults,
        reach: Reach,
        work: PaidWork,
        sender: CallbackSender,
        bridge: BridgeClient,
        *,
        dead: list[Undelivered],
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._reach = reach
        self._work = work
        self._sender = sender
        self._bridge = bridge
        self._dead = dead

    async def execute(self, start: Start) -> None:
        """Runs the workflow once. Reports an execution that fails without a result to operations."""
        request_id = start.event.get("requestId") if isinstance(start.event, dict) else None
        fault = self._faults.take("callback", CALLBACK_KINDS, request_id)
        if fault is not None and fault.kind is FaultKind.LOSE_CALLBACK:
            return
        try:
            callback = await self._callback(start, fault)
        except SilentEndError:
            return
        except Exception as error:  # noqa: BLE001 - N8N passes every failed execution to the error workflow, too
            await self._bridge.report_failure(error, start.execution_id)
            return
        await self._reach(Node.BEFORE_CALLBACK, str(request_id))
        await self._deliver_with(fault, callback)

    async def report_crash(self, execution_id: str) -> None:
        """Reports an execution that N8N found dead at startup. Only its id is known."""
        await self._bridge.report_failure(WorkflowCrashedError(), execution_id)

    async def deliver(self, callback: Callback, fault: Fault | None = None) -> None:
        """Sends one callback. It becomes a dead letter if the bridge does not accept it."""
        undelivered = await self._sender.send(callback, self._credentials(fault))
        if undelivered is not None:
            self._dead.append(undelivered)
            if not undelivered.kept:
                await self._bridge.report_undelivered(undelivered)

    async def _callback(self, start: Start, fault: Fault | None) -> Callback:
        order = checked(start.event, self._settings.bridge_url, lambda order: objection(order, self._settings))
        if not isinstance(order, Order):
            return refused(order, self._settings, start)

        async def reach(node: Node) -> None:
            await self._reach(node, order.request_id)
            if node is Node.AFTER_ASK:
                _fail(fault)

        try:
            picture = await self._work.picture(Work(order, start, reach))
        except GenerationError as error:
            return failed(order, error, self._settings, start)
        return completed(order, distorted(picture, fault), self._settings, start)

    async def _deliver_with(self, fault: Fault | None, callback: Callback) -> None:
        kind = fault.kind if fault else None
        delay = fault.delay if fault else 0.0
        if kind is FaultKind.DUPLICATE:
            await self.deliver(callback)
        elif kind is FaultKind.MALFORMED:
            callback = _malformed(callback)
        await asyncio.sleep(delay)
        await self.deliver(callback, fault)
        if kind is FaultKind.CONTRADICT:
            await self.deliver(_contradicting(callback))

    def _credentials(self, fault: Fault | None) -> Credentials:
        right = Credentials(self._settings.callback_key, self._settings.signing_secret)
        match fault.kind if fault else None:
            case FaultKind.WRONG_KEY:
                return replace(right, key="not-the-key")
            case FaultKind.WRONG_SIGNATURE if right.secret is not None:
                return replace(right, secret=OTHER_SECRET)
        return right


def _fail(fault: Fault | None) -> None:
    """Fails as the workflow or the AI service does with `fault`."""
    if fault is not None and fault.kind is FaultKind.WORKFLOW_BUG:
        raise TypeError("nobody is not defined")
    if fault is not None and fault.kind is FaultKind.AI_ERROR:
        raise GenerationError(fault.name or "ai_error", fault.detail or "The AI service failed")


def _malformed(callback: Callback) -> Callback:
    kept = ("requestId", "correlationId")
    return replace(callback, event={name: callback.event[name] for name in kept}, image=None)


def _contradicting(callback: Callback) -> Callback:
    event = {name: callback.event[name] for name in ("requestId", "correlationId")} | {
        "status": "failed",
        "errorCode": "contradiction",
        "errorMessage": "This request failed, says a workflow that said something else before",
    }
    return Callback(callback.url, event, callback.trace, multipart=callback.multipart)
