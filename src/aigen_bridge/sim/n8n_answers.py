"""What an HTTP response to the workflow says, and whether the bridge itself says it."""

from typing import Any

import httpx


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """Returns the JSON object of a response; an empty one when its body is something else."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def is_receipt(answer: httpx.Response, field: str) -> bool:
    """Returns whether this is the bridge's own acceptance. A proxy's page is not one, regardless of its status."""
    return answer.is_success and field in json_object(answer)


def is_problem(answer: httpx.Response) -> bool:
    """Returns whether this is the bridge's own refusal."""
    return str(answer.headers.get("content-type", "")).startswith("application/problem+json")
