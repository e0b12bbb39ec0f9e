"""Signatures: compared with the reference implementation, and fed with rubbish."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from aigen_bridge.domain.signature import (
    HEADERS,
    SIGNATURE,
    TIMESTAMP,
    SignatureError,
    is_signed,
    new_secret,
    secret_bytes,
    sign,
    verify,
)

NOW = datetime.now(UTC)
SECRET, OTHER = new_secret(), new_secret()
KEY, OTHER_KEY = secret_bytes(SECRET), secret_bytes(OTHER)
BODY = '{"text": "Größe ✓"}'.encode()


@given(text=st.text())
def test_what_we_sign_the_reference_verifies(text: str) -> None:
    body = json.dumps(text, ensure_ascii=False).encode(errors="replace")
    headers = sign([KEY], "msg_1", datetime.now(UTC), body)
    Webhook(SECRET).verify(body, headers)


@given(body=st.text())
def test_what_the_reference_signs_we_verify(body: str) -> None:
    signature = Webhook(SECRET).sign("msg_1", NOW, body)
    headers = dict(zip(HEADERS, ("msg_1", str(int(NOW.timestamp())), signature), strict=True))
    verify([KEY], headers, body.encode(), NOW)


def test_while_a_secret_is_replaced_either_is_enough() -> None:
    verify([KEY, OTHER_KEY], sign([OTHER_KEY], "m", NOW, BODY), BODY, NOW)
    verify([OTHER_KEY], sign([KEY, OTHER_KEY], "m", NOW, BODY), BODY, NOW)


@pytest.mark.parametrize(
    ("change", "body", "at"),
    [
        ({"webhook-id": "other"}, BODY, NOW),
        ({SIGNATURE: "v1,AAAA"}, BODY, NOW),
        ({SIGNATURE: "v2," + "A" * 44}, BODY, NOW),
        ({}, BODY + b" ", NOW),
        ({}, BODY, NOW + timedelta(minutes=5, seconds=2)),
        ({}, BODY, NOW - timedelta(minutes=5, seconds=2)),
    ],
)
def test_another_message_or_another_time_is_refused(change: dict[str, str], body: bytes, at: datetime) -> None:
    with pytest.raises(SignatureError):
        verify([KEY], sign([KEY], "m", NOW, BODY) | change, body, at)


def test_five_minutes_are_within_the_tolerance() -> None:
    headers = sign([KEY], "m", NOW, BODY)
    for shift in (-299, 299):
        verify([KEY], headers, BODY, NOW + timedelta(seconds=shift))


def test_another_secret_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify([OTHER_KEY], sign([KEY], "m", NOW, BODY), BODY, NOW)


headers_of_rubbish = st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=2000))


@given(headers=headers_of_rubbish, body=st.binary(max_size=100))
def test_rubbish_is_always_the_one_error(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(SignatureError):
        verify([KEY], headers, body, NOW)


@given(timestamp=st.one_of(st.text(), st.integers().map(str), st.just("9" * 400)))
def test_a_rubbish_timestamp_is_the_one_error_too(timestamp: str) -> None:
    headers = sign([KEY], "m", NOW, BODY)
    if timestamp != headers[TIMESTAMP]:
        with pytest.raises(SignatureError):
            verify([KEY], headers | {TIMESTAMP: timestamp}, BODY, NOW)


@pytest.mark.parametrize("missing", HEADERS)
def test_each_header_is_needed(missing: str) -> None:
    headers = {k: v for k, v in sign([KEY], "m", NOW, BODY).items() if k != missing}
    assert is_signed(headers)
    with pytest.raises(SignatureError, match="needed"):
        verify([KEY], headers, BODY, NOW)


def test_a_new_secret_is_printable_text_for_n8n() -> None:
    text = secret_bytes(new_secret())
    assert text.isascii()
    assert text.decode().isalnum()
    assert len(text) == 32


@pytest.mark.parametrize("wrong", ["", "secret", "whsec_", "whsec_%%%", "whsec_AAAA", "whsec_" + "A" * 400])
def test_what_is_no_secret_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="signing secret"):
        secret_bytes(wrong)
