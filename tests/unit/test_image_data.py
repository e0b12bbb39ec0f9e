"""imageData as senders write it: what can be decoded without loss is, and everything else is named."""

import base64
import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image_data import decode_image_data

PNG = (Path(__file__).parents[1] / "lighthouse.png").read_bytes()
PNG = PNG + bytes(1 + -len(PNG) % 3)  # so that its base64 has padding
BASE64 = base64.b64encode(PNG).decode()

SPELLINGS = {
    "plain": BASE64,
    "lines of 76": base64.encodebytes(PNG).decode(),
    "lines of a mail": base64.encodebytes(PNG).decode().replace("\n", "\r\n"),
    "blanks and tabs": " \t".join(BASE64[i : i + 9] for i in range(0, len(BASE64), 9)),
    "a newline at the end": BASE64 + "\n",
    "no padding": BASE64.rstrip("="),
    "no padding, and a newline": BASE64.rstrip("=") + "\n",
    "the alphabet for URLs": base64.urlsafe_b64encode(PNG).decode(),
    "the alphabet for URLs without padding": base64.urlsafe_b64encode(PNG).decode().rstrip("="),
    "a data URI": f"data:image/png;base64,{BASE64}",
    "a data URI with parameters": f"DATA:image/png;charset=utf-8;BASE64,{BASE64}",
    "a data URI without a type": f"\n data:;base64,\n{BASE64}",
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_that_loses_nothing_is_decoded(text: str) -> None:
    assert decode_image_data(text) == PNG


MISTAKES = {
    "https://fal.media/files/a.png?sig=x": "is a URL. Send it as imageUrl",
    "filesystem-v2:workflows/1/executions/2/binary_data/3": "N8N's reference to binary data",
    "filesystem-v2": "N8N's reference to binary data",
    "database": "N8N's reference to binary data",
    "undefined": "found no data",
    "[object Object]": "found no data",
    "{{ $binary.data.data }}": "found no data",
    json.dumps({"type": "Buffer", "data": [137, 80]}): "is JSON",
    "<html>Sign in</html>": "is a page",
    "\ufffdPNG\r\n\x1a\n": "bytes of an image as text",
    "\x89PNG\r\n\x1a\n": "bytes of an image as text",
    PNG.hex(): "is hexadecimal",
    PNG.hex().upper(): "is hexadecimal",
    base64.b64encode(BASE64.encode()).decode(): "is encoded twice",
    base64.b64encode(SPELLINGS["a data URI"].encode()).decode(): "is encoded twice",
    "data:image/png,%89PNG": "a data URI whose data is not base64",
    BASE64[:41]: "cut off",
    BASE64[:40] + "!" + BASE64[40:]: "it has '!' at position 40",
    BASE64[:40] + "\\n" + BASE64[40:]: r"it has '\\' at position 40",
    BASE64[:40] + "\N{NO-BREAK SPACE}" + BASE64[40:]: "is not base64",
    BASE64[:42] + "==" + BASE64[44:]: "is not base64",
    "\ud83d" + BASE64: r"it has '\ud83d' at position 0",
}


@pytest.mark.parametrize(("text", "says"), MISTAKES.items(), ids=[says[:25] for says in MISTAKES.values()])
def test_what_is_no_base64_is_named(text: str, says: str) -> None:
    with pytest.raises(ImageRejectedError) as caught:
        decode_image_data(text)
    [reason] = caught.value.reasons
    assert reason.startswith("imageData ")
    assert says in reason
    assert len(reason) < 400


@pytest.mark.parametrize("text", [" " * 5_000_000 + "x", base64.b64encode(b" " * 5_000_000 + b"x").decode()])
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    with suppress(ImageRejectedError):
        decode_image_data(text)
    assert time.process_time() - started < 1


@given(
    content=st.binary(max_size=60), at=st.integers(0, 90), more=st.sampled_from(list("!*%$#@\\\"',.:;|~\x00é\u2028"))
)
def test_no_character_is_ever_skipped(content: bytes, at: int, more: str) -> None:
    image = PNG[:8] + content
    text = base64.b64encode(image).decode()
    assert decode_image_data(text) == image
    with pytest.raises(ImageRejectedError):
        decode_image_data(text[:at] + more + text[at:])


@given(text=st.text(max_size=80))
def test_any_text_is_decoded_or_refused_and_never_an_error(text: str) -> None:
    with suppress(ImageRejectedError):
        assert isinstance(decode_image_data(text), bytes)
