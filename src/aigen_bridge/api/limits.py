"""Limits on what comes in."""

from fastapi import Request

from aigen_bridge.api.problems import BodyTooLargeError, UnsupportedMediaTypeError


async def read_json_body(request: Request, max_bytes: int) -> bytes:
    """The body, if it says that it is JSON and is not larger than `max_bytes`; no more than that is read."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError("unsupported_media_type", f"The body is {media_type}, not JSON.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLargeError("body_too_large", f"The body is larger than {max_bytes} bytes.")
    return bytes(body)
