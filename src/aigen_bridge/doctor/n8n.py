"""Checks N8N: the webhook is registered and accepts the key. Starts no execution, so no image is generated or paid."""

from http import HTTPStatus

from aigen_bridge.clients.probe import ask
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StepError

UNREADABLE = b'{"aigen-bridge doctor": this is no JSON'
"""An invalid body, which every webhook refuses, whatever its workflow does. N8N finds the webhook first (404), then
reads the body (422), and only then checks the key or starts an execution. The refusal shows that the webhook exists."""
REGISTERED = frozenset(
    {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.BAD_REQUEST}
)
KEY_UNPROVEN = (
    "Request an image and check that it is dispatched. N8N cannot verify the key without starting an execution."
)


async def look_at_webhook(subject: Subject) -> list[Finding]:
    """N8N is reachable, and the webhook is registered."""
    if subject.n8n is None:
        raise NotLookedAtError
    try:
        answer = await ask("POST", subject.n8n.webhook_url, who="N8N", body=UNREADABLE)
    except StepError as error:
        advice = "Start N8N, and check the host of AIGEN_N8N__WEBHOOK_URL; then replay the dead letters."
        return [wrong("N8N", error.detail, advice)]
    if answer.status in REGISTERED:
        return [ok("N8N", f"The webhook is registered (answered in {spoken(answer.took)}).")]
    if answer.status == HTTPStatus.NOT_FOUND:
        advice = "Publish the workflow in N8N, and check the path of AIGEN_N8N__WEBHOOK_URL."
        return [wrong("N8N", "It answers, but the webhook is not registered (404).", advice)]
    if answer.location:
        found = f"It answers {answer.named} and points to {answer.location}. Requests are not sent to another address."
        advice = "If this is where N8N is now, set AIGEN_N8N__WEBHOOK_URL to it. If not, look at the proxy before N8N."
        return [wrong("N8N", found, advice)]
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return [wrong("N8N", f"It answers {answer.named}.", "Read the logs of N8N and of a proxy in front of it.")]
    found = f"The server answered {answer.named} to an invalid message. N8N would answer 422."
    return [warning("N8N", found, "Check AIGEN_N8N__WEBHOOK_URL, and the proxy in front of N8N.")]


async def look_at_n8n_key(subject: Subject) -> list[Finding]:
    """N8N accepted the key with the last dispatch, which is the only proof."""
    trial = await subject.opened.key_trial()
    if trial is None:
        return [warning("N8N key", "Unverified: nothing was dispatched lately.", KEY_UNPROVEN)]
    if trial.accepted:
        return [ok("N8N key", f"N8N accepted it with the last dispatch, {spoken(trial.ago)} ago.")]
    advice = (
        "Give AIGEN_N8N__API_KEY the value that the webhook's header credential has in N8N (with 401, "
        "AIGEN_N8N__SIGNING_SECRET that of its signing secret), restart the workers, then 'aigen-bridge dead-letters "
        f"replay --all --kind dispatch --error-code http_{trial.http_status}'."
    )
    return [wrong("N8N key", f"N8N refused it with the last dispatch, {spoken(trial.ago)} ago.", advice)]
