"""The address that N8N is given for its results leads to this service's API."""

from http import HTTPStatus

from aigen_bridge.clients.probe import Answer, ask
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StepError
from aigen_bridge.settings import CALLBACK_PATH

PROBLEM = "application/problem+json"


async def look_at_callback_url(subject: Subject) -> list[Finding]:
    """GET it: only POST is offered there, and the way our API says so tells that it is ours."""
    if subject.public_url is None:
        raise NotLookedAtError
    try:
        answer = await ask("GET", subject.public_url + CALLBACK_PATH, who=subject.public_url)
    except StepError as error:
        return [_unreached(error)]
    return [_judged(answer, subject.public_url)]


def _unreached(error: StepError) -> Finding:
    if "certificate required" in error.detail.lower():
        return _closed_to_us()
    advice = (
        "Start 'aigen-bridge serve' (or 'up'), and check AIGEN_PUBLIC_URL and the proxy there. If only N8N's network "
        "leads there, ask from there: curl -i …/api/v1/influencegen/ai-image-callback must answer 405."
    )
    if "certificate" in error.detail.lower():
        advice = (
            "Its certificate is not trusted here: name a bundle that has its authority in SSL_CERT_FILE; so for N8N."
        )
    return wrong("callback URL", error.detail, advice)


def _judged(answer: Answer, public_url: str) -> Finding:
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED and answer.media_type == PROBLEM:
        return ok("callback URL", f"{public_url} leads to the API (answered in {spoken(answer.took)}).")
    if answer.status == HTTPStatus.BAD_REQUEST and "certificate" in answer.said.lower():
        return _closed_to_us()
    if answer.status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
        found = f"The proxy at {public_url} answers {answer.named}: it does not reach the API."
        return wrong("callback URL", found, "Start 'aigen-bridge serve', and check where the proxy leads.")
    found = f"What answers at {public_url} is not this service ({answer.named})."
    return wrong("callback URL", found, "Check AIGEN_PUBLIC_URL, its path, and where the proxy there leads.")


def _closed_to_us() -> Finding:
    found = "It asks for a client certificate, so it could not be looked at from here."
    advice = "See in N8N's executions that callbacks are answered 202, or ask with N8N's certificate by curl."
    return warning("callback URL", found, advice)
