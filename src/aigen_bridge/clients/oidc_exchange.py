"""One call to an OpenID Connect provider: its deadline, how much is read, and how an answer is understood."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from aigen_bridge.clients.http_errors import (
    EXCERPT_MAX,
    UNCOMPRESSED,
    beginning,
    location,
    named,
    on_one_line,
    printable,
    refusal,
    silence,
)
from aigen_bridge.clients.outbound import by_proxy, outbound, way_out
from aigen_bridge.domain.errors import PermanentError, StepError

NAME = "The OpenID Connect provider"
SECONDS, CONNECT_SECONDS = 8.0, 4.0
"""Deadline of a call, and of opening its connection. Somebody is waiting for the page."""
ANSWER_MAX = 2**20
"""Bytes of an answer. Discovery documents, key sets and tokens have thousands."""
HINTS: Mapping[str, str] = {
    "invalid_client": " Compare AIGEN_CONSOLE__OIDC_CLIENT_ID and …__OIDC_CLIENT_SECRET with the client there.",
    "unauthorized_client": " Allow the client the authorization code flow there.",
    "redirect_uri_mismatch": " Register the redirect URI of the bridge there.",
    "invalid_grant": " The sign-in took too long, or the page was loaded twice: sign in again.",
}


async def exchange(
    method: str,
    url: str,
    *,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    hidden: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Makes one call, and returns the JSON object of the answer. Follows no redirects.

    Errors quote what the provider says, but none of the `hidden` texts. Raises `TransientError` if the provider is away
    or fails, `PermanentError` if it refuses or answers anything else.
    """
    with outbound("oidc", method, url) as call:
        content = None if body is None else body.encode()
        call.bytes_out = len(content or b"")
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS), **way_out(url)) as http,
                http.stream(method, url, content=content, headers=_headers(headers, content)) as response,
            ):
                call.status = response.status_code
                answer = await beginning(response, ANSWER_MAX)
                call.bytes_in = response.num_bytes_downloaded
        except (httpx.HTTPError, TimeoutError) as error:
            raise silence(f"{NAME}{by_proxy(url)}", error) from error
        if not response.is_success:
            raise _refusal(url, response, answer, hidden)
        return _object(url, response, answer)


def _headers(given: Mapping[str, str] | None, content: bytes | None) -> dict[str, str]:
    form = {} if content is None else {"Content-Type": "application/x-www-form-urlencoded"}
    return {"Accept": "application/json", **UNCOMPRESSED, **form, **(given or {})}


def _object(url: str, response: httpx.Response, answer: bytes) -> dict[str, Any]:
    """Parses the answer. It is not quoted: it may hold tokens."""
    if len(answer) >= ANSWER_MAX:
        raise _unexpected(url, response, f"its answer is longer than {ANSWER_MAX} bytes")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        raise _unexpected(url, response, "its answer is not JSON") from None
    if not isinstance(found, dict):
        raise _unexpected(url, response, "its answer is no JSON object")
    return found


def _unexpected(url: str, response: httpx.Response, what: str) -> PermanentError:
    detail = f"{NAME} answered {named(response)} at {httpx.URL(url).path}, but {what}."
    return PermanentError("unexpected_answer", detail, http_status=response.status_code)


def _refusal(url: str, response: httpx.Response, answer: bytes, hidden: tuple[str, ...]) -> StepError:
    if response.is_redirect:
        where = location(url, response.headers.get("location", ""))
        return _unexpected(url, response, f"it points to {where}, which is not followed")
    code, text = _error(answer)
    for secret in filter(None, hidden):
        text = text.replace(secret, "***")
    return refusal(NAME, response, text[:EXCERPT_MAX], hint=HINTS.get(code, ""))


def _error(answer: bytes) -> tuple[str, str]:
    """Returns the code of an OAuth error (RFC 6749, section 5.2), and the error as text."""
    try:
        found = json.loads(answer)
        parts = [found.get("error"), found.get("error_description")]
    except (ValueError, RecursionError, AttributeError):
        return "", on_one_line(answer)
    known = [printable(part) for part in parts if isinstance(part, str)]
    return (known[0] if known else ""), ": ".join(known)
