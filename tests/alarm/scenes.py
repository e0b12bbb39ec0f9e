"""The scenes: each has a fault, the alert that must fire, its recipient, and the repair."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aigen_bridge.sim.faults import Fault, FaultKind, Faults
from alarm.ground import Ground

Act = Callable[[Ground], Awaitable[None]]

L1, DEVELOPMENT, N8N = "operations-l1@example.com", "development-l2@example.com", "n8n-l1@example.com"


@dataclass(frozen=True)
class Scene:
    """One fault. The first mail must arrive `within` seconds (with the shorter times, on a busy machine).

    `second` also receives a mail, because the fault lasts. `follows` are consequential alerts that must not be sent.
    """

    name: str
    alert: str
    to: str
    breaks: Act
    mends: Act
    within: float = 60
    second: str | None = None
    follows: frozenset[str] = frozenset()


def _faults(pick: Callable[[Ground], Faults], *faults: Fault) -> Act:
    async def act(ground: Ground) -> None:
        pick(ground).add(*faults)

    return act


def _cleared(pick: Callable[[Ground], Faults], *, then: str | None = None) -> Act:
    async def act(ground: Ground) -> None:
        pick(ground).clear()
        if then:
            await ground.tidy(then)

    return act


def _n8n(ground: Ground) -> Faults:
    return ground.chain.n8n.faults


def _odoo(ground: Ground) -> Faults:
    return ground.chain.odoo.faults


def _fault(kind: FaultKind, route: str, times: int | None, *, status: int = 503, delay: float = 0) -> Fault:
    return Fault(kind=kind, route=route, times=times, status=status, delay=delay)


async def _kill_worker(ground: Ground) -> None:
    await ground.worker.kill()


async def _start_worker(ground: Ground) -> None:
    await ground.worker.start()


SCENES = (
    Scene(
        "N8N answers after 1.2 s",
        "AigenWebhookSlow",
        L1,
        _faults(_n8n, _fault(FaultKind.DELAY, "webhook", None, delay=1.2)),
        _cleared(_n8n),
        within=90,
    ),
    Scene(
        "N8N is down, and stays down",
        "AigenBreakerOpen",
        L1,
        _faults(_n8n, _fault(FaultKind.STATUS, "webhook", None)),
        _cleared(_n8n, then="replay"),
        second=DEVELOPMENT,
        follows=frozenset({"AigenWebhookErrorRate", "AigenWebhookSlow", "AigenWebhookFailing"}),
    ),
    Scene(
        "N8N refuses the key",
        "AigenWebhookFailing",
        L1,
        _faults(_n8n, _fault(FaultKind.STATUS, "webhook", 3, status=403)),
        _cleared(_n8n, then="replay"),
    ),
    Scene(
        "N8N contradicts itself",
        "AigenCallbackFailing",
        L1,
        _faults(_n8n, _fault(FaultKind.CONTRADICT, "callback", 3)),
        _cleared(_n8n, then="discard"),
    ),
    Scene(
        "N8N's executions die",
        "AigenWorkflowFailing",
        N8N,
        _faults(_n8n, _fault(FaultKind.LOSE_CALLBACK, "callback", 3)),
        _cleared(_n8n),
    ),
    Scene("the worker is killed", "AigenWorkerAbsent", L1, _kill_worker, _start_worker),
    Scene(
        "Odoo is down",
        "AigenBreakerOpen",
        L1,
        _faults(_odoo, _fault(FaultKind.STATUS, "jsonrpc", None)),
        _cleared(_odoo, then="replay"),
    ),
)
