"""Whatever comes as multipart/form-data: the parts or a documented refusal, however the network cuts it up."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from aigen_bridge.api.body import Limits
from aigen_bridge.api.errors import BodyTooLargeError, MalformedMultipartError, UnsupportedMediaTypeError
from aigen_bridge.api.multipart import PARTS_MAX, read_parts

LIMITS = Limits(max_bytes=64 * 2**10, timeout=timedelta(seconds=5))
REFUSALS = (MalformedMultipartError, UnsupportedMediaTypeError, BodyTooLargeError)
BOUNDARY = "b0und--ary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TOKENS = [
    *(
        f"--{BOUNDARY}",
        f"--{BOUNDARY}--",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "--",
        ":",
        ";",
        '"',
        "\\",
        "\0",
        "\xff",
        BOUNDARY,
    ),
    *("Content-Disposition: form-data; name=", 'name="event"', 'name="image"', "name*=utf-8''event", "filename="),
    *("Content-Transfer-Encoding: base64\r\n", "Content-Type: application/json\r\n", "name", "=", "X" * 300),
]
"""What a parser of multipart/form-data stumbles over."""
COMMON = settings(max_examples=300, deadline=None, derandomize=True, database=None)

Outcome = tuple[bytes, bytes | None] | type[Exception]


def read(chunks: Sequence[bytes], content_type: str = CONTENT_TYPE) -> Outcome:
    """What `read_parts` makes of a body that comes in these chunks: the parts, or the class of its refusal."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    coming = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(coming)

    headers = [(b"content-type", content_type.encode("latin-1"))]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    try:
        return asyncio.run(read_parts(request, LIMITS))
    except REFUSALS as error:
        return type(error)


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    return [body[start:end] for start, end in pairwise(ends)]


def form(**parts: bytes) -> bytes:
    """A body as a client that is in order writes it."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    pieces = [f'{head}"{name}"\r\n\r\n'.encode() + content + b"\r\n" for name, content in parts.items()]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


tokens = st.sampled_from([token.encode("latin-1") for token in TOKENS])
rubbish = st.lists(st.binary(max_size=20) | tokens, max_size=20).map(b"".join)
contents = rubbish.filter(lambda content: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content)
places = st.lists(st.integers(0, 2**16), max_size=20)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A body that was in order until something was removed, repeated or put in, a few times."""
    body = form(event=draw(contents), image=draw(contents), other=b"1")
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        middle = draw(st.sampled_from([b"", body[start:end] * 2]) | tokens | st.binary(max_size=4))
        body = body[:start] + middle + body[end:]
    return body


bodies = mutated() | rubbish | st.binary()


@COMMON
@given(contents, st.none() | contents, places)
def test_the_parts_are_what_was_sent_to_the_byte(event: bytes, image: bytes | None, where: list[int]) -> None:
    body = form(event=event, other=b"1") if image is None else form(image=image, other=b"1", event=event)
    assert read(cut(body, where)) == (event, image)


@COMMON
@given(bodies, places)
@example(form(event=b"{}"), list(range(200)))
@example(b"\r\n" + form(event=b"{}"), [1])
@example(b"\r\n:" + form(event=b"{}"), [2])
def test_where_the_network_cuts_a_body_makes_no_difference(body: bytes, where: list[int]) -> None:
    whole = read([body])
    assert read(cut(body, where)) == whole
    assert read([bytes([byte]) for byte in body]) == whole


@COMMON
@given(bodies, st.text(st.characters(max_codepoint=255)) | st.sampled_from(TOKENS), st.integers(0, 80))
def test_no_content_type_gets_anything_but_parts_or_a_refusal(body: bytes, inserted: str, place: int) -> None:
    read([body], CONTENT_TYPE[:place] + inserted + CONTENT_TYPE[place:])
    read([body], inserted)


@COMMON
@given(st.integers(0, PARTS_MAX * 2))
def test_parts_are_counted_however_small_they_are(number: int) -> None:
    outcome = read([form(event=b"", **{f"p{index}": b"" for index in range(number)})])
    assert outcome == ((b"", None) if number < PARTS_MAX else MalformedMultipartError)


def test_a_body_over_the_limit_is_refused_in_the_middle() -> None:
    assert read([form(event=b"{}", image=bytes(LIMITS.max_bytes))]) is BodyTooLargeError
