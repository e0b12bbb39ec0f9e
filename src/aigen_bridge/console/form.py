"""Reads the forms of the console within limits."""

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from aigen_bridge.api.body import MULTIPART, Limits, check_encoding, check_media_type, in_time, media_type, read_whole
from aigen_bridge.api.errors import BodyTooLargeError
from aigen_bridge.console.errors import WrongFormError
from aigen_bridge.domain.errors import storable

URLENCODED = "application/x-www-form-urlencoded"
LIMITS = Limits(max_bytes=256 * 2**10, timeout=timedelta(seconds=30))
FIELDS_MAX = 2000
"""More than the checkboxes of the longest list."""
REASON_MAX = 500


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, in order, and its file, if it has one."""

    fields: tuple[tuple[str, str], ...]
    file: bytes | None = field(default=None, repr=False)

    def text(self, name: str) -> str:
        """Returns the value of a field without blanks around it; empty if it is missing."""
        return next((value.strip() for key, value in self.fields if key == name), "")

    def texts(self, name: str) -> list[str]:
        """Returns all values of a field, such as those of checkboxes."""
        return [value for key, value in self.fields if key == name]

    def reason(self) -> str | None:
        """Returns the field `reason`, if something was written into it. Raises `WrongFormError`."""
        text = storable(self.text("reason"))
        if len(text) > REASON_MAX:
            raise WrongFormError(f"The reason has {len(text)} characters; at most {REASON_MAX} are kept.")
        return text or None

    def required_reason(self) -> str:
        """Returns the field `reason`. Raises `WrongFormError` if it is empty."""
        if reason := self.reason():
            return reason
        raise WrongFormError("The reason is missing. Say in a few words why; others will read it.")


async def read_form(request: Request) -> Form:
    """Reads a form, with at most one file. Raises as `read_whole` does, and `WrongFormError`."""
    check_media_type(request, URLENCODED, MULTIPART)
    if media_type(request) == MULTIPART:
        check_encoding(request)
        return await _read_multipart(request)
    return await read_fields(request)


async def read_fields(request: Request) -> Form:
    """Reads a form without a file. Raises as `read_form` does."""
    check_media_type(request, URLENCODED)
    check_encoding(request)
    try:
        text = (await read_whole(request, LIMITS)).decode("ascii")
        return Form(tuple(parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=FIELDS_MAX)))
    except ValueError:
        raise WrongFormError(f"The form is not encoded as a form, or it has more than {FIELDS_MAX} fields.") from None


async def _read_multipart(request: Request) -> Form:
    callback = request.app.state.parts.settings.callback
    limits = Limits(callback.max_bytes + LIMITS.max_bytes, callback.read_timeout, "AIGEN_CALLBACK__MAX_BYTES")
    size = request.headers.get("content-length")
    if size is None:
        raise WrongFormError("The form does not say how large it is (Content-Length).")
    if int(size) > limits.max_bytes:  # the server has rejected malformed values
        raise BodyTooLargeError(callback.max_bytes, limits.setting)
    _check_charset(request)
    async with in_time(limits):
        try:
            async with request.form(max_files=1, max_fields=20, max_part_size=LIMITS.max_bytes) as form:
                values = form.multi_items()
                files = [await value.read() for _, value in values if isinstance(value, UploadFile)]
        except MultiPartException as error:
            raise WrongFormError(f"The form could not be read: {error.message}") from None
    texts = tuple((name, value) for name, value in values if isinstance(value, str))
    return Form(texts, files[0] if files and files[0] else None)


def _check_charset(request: Request) -> None:
    """Refuses what no browser sends: with a charset of its choice, a caller chooses the codec that reads the form."""
    _, parameters = parse_options_header(request.headers["content-type"])
    if parameters.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise WrongFormError("The form is not in UTF-8.")
