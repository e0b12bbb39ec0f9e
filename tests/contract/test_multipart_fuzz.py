"""Whatever comes as multipart/form-data: its parts, to the byte, or a fault; never an error of ours."""

import time
from email.message import EmailMessage
from pathlib import Path

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.contracts.envelope import Envelope, unpack
from aigen_bridge.contracts.multipart import PARTS_MAX, split

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
COMMON = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def form(*, line: str = "\r\n", headers: str = "", **parts: bytes) -> bytes:
    """A body as a client that is in order writes it. `headers` are further ones of every part."""
    head = f"--{BOUNDARY}{line}Content-Disposition: form-data; name="
    pieces = [
        f'{head}"{name}"{line}{headers}{line}'.encode() + content + line.encode() for name, content in parts.items()
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--{line}".encode()


tokens = st.sampled_from([token.encode("latin-1") for token in TOKENS])
rubbish = st.lists(st.binary(max_size=20) | tokens, max_size=20).map(b"".join)
contents = rubbish.filter(lambda content: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content)


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
@given(contents, st.none() | contents, st.sampled_from([b"", b"\r\n", b"This is a multi-part message.\r\n"]), contents)
def test_the_parts_are_what_was_sent_to_the_byte(
    event: bytes, image: bytes | None, before: bytes, after: bytes
) -> None:
    body = form(event=event, other=b"1") if image is None else form(image=image, other=b"1", event=event)
    found = unpack(before + body + after, CONTENT_TYPE)
    assert (found.event, found.image, found.fault) == (event, image, None)


@COMMON
@given(bodies, st.text(st.characters(max_codepoint=255)) | st.sampled_from(TOKENS), st.integers(0, 80))
def test_no_body_and_no_content_type_is_a_bug(body: bytes, inserted: str, place: int) -> None:
    for content_type in (CONTENT_TYPE, CONTENT_TYPE[:place] + inserted + CONTENT_TYPE[place:], inserted, ""):
        found = unpack(body, content_type)
        assert found.event is not None or found.fault is not None


@pytest.mark.parametrize("number", [1, PARTS_MAX - 1, PARTS_MAX, 2 * PARTS_MAX])
def test_parts_are_counted_however_small_they_are(number: int) -> None:
    found = unpack(form(event=b"", **{f"p{index}": b"" for index in range(number)}), CONTENT_TYPE)
    assert (found.event, found.fault is None) == (b"", number < PARTS_MAX)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n--x" * 2_000_000,
        b"\n--xQ" * 2_000_000,
        b"--x" + b" " * 10_000_000,
        b"\r\n" * 5_000_000 + b"--",
        b"--x\r\n" + b"A: b\r\n" * 1_000_000,
        (b"--x" + b" " * 2_500_000 + b"Q\r\n") * 10,
        (b'--x\r\nContent-Disposition: form-data; name="' + b";" * 8000 + b'"\r\n\r\n1\r\n') * 500,
        (b"--x\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8" + b"\xff\xe0\0\2" * 8000 + b"\r\n") * 400,
    ],
    ids=[
        "boundaries",
        "almost boundaries",
        "blanks",
        "line breaks",
        "headers",
        "blanks before no boundary",
        "semicolons in a name",
        "segments of a JPEG",
    ],
)
def test_no_body_takes_long(body: bytes) -> None:
    started = time.process_time()
    assert unpack(body, "multipart/form-data; boundary=x").fault
    unpack(body, "")
    assert time.process_time() - started < 2


PICTURE = (Path(__file__).parents[1] / "lighthouse.png").read_bytes() + bytes(range(256))
EVENT = b'{"status": "completed"}'


@pytest.mark.parametrize(
    "body",
    [
        form(line="\n", event=EVENT, image=PICTURE),
        form(event=EVENT, image=PICTURE).replace(b"ary\r\n", b"ary \t\r\n"),
        form(event=EVENT, image=PICTURE).replace(b"form-data; name", b"form-data;\r\n\tname"),
        form(event=EVENT, image=PICTURE).replace(b'"event"', b"event").replace(b'"image"', b" Image ; filename*=x"),
        form(event=EVENT, image=PICTURE, headers="Content-Transfer-Encoding: binary\r\n"),
        form(
            event=pybase64.encodebytes(EVENT),
            image=pybase64.encodebytes(PICTURE),
            headers="content-transfer-encoding: BASE64\r\n",
        ),
        form(
            event=b'{"status"=3A "completed"}',
            image=PICTURE.replace(b"=", b"=3D").replace(b"\r", b"=0D").replace(b"\n", b"=0A"),
            headers="Content-Transfer-Encoding: quoted-printable\r\n",
        ),
        form(event=EVENT, image=PICTURE, headers="Content-Transfer-Encoding: base64\r\n"),  # which is a lie
        form(event=EVENT, image=PICTURE, headers="".join(f"X-{number}: 1\r\n" for number in range(20))),
    ],
    ids=["lf", "padding", "folded", "unquoted", "binary", "base64", "quoted-printable", "not base64", "headers"],
)
def test_what_the_standard_and_the_field_allow_is_read(body: bytes) -> None:
    for content_type in (CONTENT_TYPE, f'Multipart/Form-Data; charset=utf-8; boundary="{BOUNDARY}"'):
        assert unpack(body, content_type) == Envelope(EVENT, PICTURE)


def test_a_body_of_pythons_own_mail_library_is_read() -> None:
    message = EmailMessage()
    message.make_mixed(boundary=BOUNDARY)
    for name, content, kind in (("event", EVENT, "json"), ("image", PICTURE, "octet-stream")):
        part = EmailMessage()
        part.set_content(content, maintype="application", subtype=kind, disposition="form-data")
        part.set_param("name", name, header="Content-Disposition")
        message.attach(part)
    assert unpack(message.as_bytes().partition(b"\n\n")[2], CONTENT_TYPE) == Envelope(EVENT, PICTURE)


MISMATCH, NAMELESS = "multipart/form-data; boundary=other", "multipart/form-data"


@pytest.mark.parametrize("content_type", [MISMATCH, NAMELESS, "", "text/plain", f"{NAMELESS}; boundary={'x' * 500}"])
def test_a_body_under_another_boundary_is_read_for_a_replay(content_type: str) -> None:
    found = unpack(form(event=EVENT, image=PICTURE), content_type)
    assert (found.event, found.image) == (EVENT, PICTURE)
    assert found.fault


@pytest.mark.parametrize("end", [-2, -4, -30])
def test_a_body_without_its_end_has_its_parts_and_a_fault(end: int) -> None:
    body = form(event=EVENT, image=PICTURE)[:end] if end != -2 else form(event=EVENT, image=PICTURE).rstrip(b"-\r\n")
    found = unpack(body, CONTENT_TYPE)
    assert (found.event, found.fault is None) == (EVENT, False)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({"event": EVENT, "data": PICTURE}, Envelope(EVENT, None, (PICTURE,), has_more=True)),
        ({"payload": EVENT, "image": PICTURE}, Envelope(EVENT, PICTURE)),
        ({"json": EVENT, "file": PICTURE, "note": b"x"}, Envelope(EVENT, None, (PICTURE,), has_more=True)),
        ({"event": EVENT, "image": PICTURE, "data": PICTURE + b"2"}, None),
        ({"event": EVENT, "log": b'{"a": 1}', "note": b"x"}, Envelope(EVENT, has_more=True)),
    ],
    ids=["data", "payload", "other names", "two pictures", "no picture"],
)
def test_event_and_image_are_found_under_any_name(parts: dict[str, bytes], wanted: Envelope | None) -> None:
    found = unpack(form(**parts), CONTENT_TYPE)
    assert found == wanted or (wanted is None and (found.image, len(found.files)) == (PICTURE, 1))


def test_an_upload_counts_as_a_file_although_it_is_no_image() -> None:
    body = form(event=EVENT, data=b"broken").replace(b'"data"', b'"data"; filename="a.png"')
    assert unpack(body, CONTENT_TYPE).files == (b"broken",)
    assert split(body, CONTENT_TYPE)[0][1].is_file


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (form(event=EVENT, image=PICTURE).replace(b'"image"', b'"event"'), "2 parts that can be the event"),
        (form(first=EVENT, second=EVENT + b" "), "2 parts that can be the event"),
        (form(note=b"x", image=PICTURE), "no part named 'event'"),
        (form(event=EVENT, a=b"1").replace(b'"a"', b'"image"') + b"", None),
        (b"hello", "is not in it"),
        (b"", "is not in it"),
    ],
    ids=["two events", "two of other names", "none", "fine", "text", "empty"],
)
def test_a_fault_says_what_is_wrong(body: bytes, fault: str | None) -> None:
    found = unpack(body, CONTENT_TYPE)
    assert (found.fault is None) if fault is None else (fault in (found.fault or ""))
