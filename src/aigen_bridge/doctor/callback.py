"""Checks that the callback URL sent to N8N leads to this service's API."""

from http import HTTPStatus

from aigen_bridge.clients.probe import Answer, ask
from aigen_bridge.doctor.finding import Finding, NotLookedAtError, ok, spoken, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StepError
from aigen_bridge.settings import CALLBACK_PATH

PROBLEM = "application/problem+json"


async def look_at_callback_url(subject: Subject) -> list[Finding]:
    """Sends GET to the callback URL, which allows only POST: the form of the 405 shows whether it is this API."""
    if subject.public_url is None:
        raise NotLookedAtError
    try:
        answer = await ask("GET", subject.public_url + CALLBACK_PATH, who=subject.public_url)
    except StepError as error:
        return [_not_reached(error)]
    return [_assess(answer, subject.public_url)]


def _not_reached(error: StepError) -> Finding:
    if "certificate required" in error.detail.lower():
        return _certificate_required()
    advice = (
        "Start 'aigen-bridge serve' (or 'up'), and check AIGEN_PUBLIC_URL and its proxy. If it is reachable only from "
        "N8N's network, test it there: curl -i …/api/v1/influencegen/ai-image-callback must answer 405."
    )
    if "certificate" in error.detail.lower():
        advice = (
            "Its certificate is not trusted here. Set SSL_CERT_FILE to a bundle with its CA, and do the same for N8N."
        )
    return wrong("callback URL", error.detail, advice)


def _assess(answer: Answer, public_url: str) -> Finding:
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED and answer.media_type == PROBLEM:
        return ok("callback URL", f"{public_url} leads to the API (answered in {spoken(answer.took)}).")
    if answer.status == HTTPStatus.BAD_REQUEST and "certificate" in answer.excerpt.lower():
        return _certificate_required()
    if answer.status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
        found = f"The proxy at {public_url} answers {answer.named}: it does not reach the API."
        return wrong("callback URL", found, "Start 'aigen-bridge serve', and check the proxy's upstream.")
    found = f"The server at {public_url} is not this service ({answer.named})."
    return wrong("callback URL", found, "Check AIGEN_PUBLIC_URL, its path, and the proxy's upstream.")


def _certificate_required() -> Finding:
    found = "It requires a client certificate, so it could not be checked from here."
    advice = "Check in N8N's executions that callbacks are answered with 202, or test with curl and N8N's certificate."
    return warning("callback URL", found, advice)
