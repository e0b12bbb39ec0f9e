"""What is read of any HTTP answer: a wait that is asked for, and the beginning of a body."""

import gzip
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.clients.http_errors import RETRY_AFTER_MAX, beginning, excerpt, retry_after

BOMB = gzip.compress(b"\0" * 50_000_000, 9)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("0", 0), ("7", 7), (" 7 ", 7), ("0" * 30 + "5", 5), ("3600", 3600)),
        *(("120, 120", 120), ("10, 120", 120), ("120,10", 120), ("-5, 30", 30), ("30, soon", 30)),
        *(("Sun, 06 Nov 1994 08:49:37 GMT, 30", 30), ("30, Sun, 06 Nov 1994 08:49:37 GMT", 30)),
        *(("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("Sunday, 06-Nov-94 08:49:37 GMT", 0), ("Sun Nov  6 08:49:37 1994", 0)),
        *(("99999999999999999999", 3600), ("9" * 5000, 3600), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600)),
        *(("", None), ("-5", None), ("1.5", None), ("1e3", None), ("inf", None), ("soon", None), ("\u0663", None)),
    ],
)
def test_a_wait_is_whole_seconds_or_a_date_and_at_most_an_hour(value: str, seconds: int | None) -> None:
    assert retry_after(value) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_date_is_a_wait_from_now() -> None:
    wait = retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True))

    assert wait is not None
    assert timedelta(minutes=9) < wait <= timedelta(minutes=10)


@given(st.text() | st.from_regex(r"[0-9, .:+-]{0,30}(GMT)?"))
def test_whatever_is_asked_for_is_no_wait_or_one_within_bounds(value: str) -> None:
    wait = retry_after(value)
    assert wait is None or timedelta(0) <= wait <= RETRY_AFTER_MAX


class Body(httpx.AsyncByteStream):
    """A body that arrives in these parts, and then breaks off if `error` is given."""

    def __init__(self, *parts: bytes, error: Exception | None = None) -> None:
        self.parts, self.error = parts, error
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.sent += len(part)
            yield part
        if self.error:
            raise self.error


def response(body: Body, encoding: str = "") -> httpx.Response:
    return httpx.Response(500, headers={"Content-Encoding": encoding} if encoding else {}, stream=body)


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        *(
            (b"plain", ""),
            (b"plain", "identity"),
            (b"plain", "aws-chunked"),
            (gzip.compress(b"plain", mtime=0), "gzip"),
        ),
        *((gzip.compress(b"plain", mtime=0), "GZIP"), (zlib.compress(b"plain"), "deflate"), (b"", "gzip")),
    ],
)
async def test_a_body_is_read_as_it_is_encoded(packed: bytes, encoding: str) -> None:
    assert await beginning(response(Body(packed), encoding), 100) == (b"plain" if packed else b"")


async def test_a_body_is_read_and_unpacked_up_to_the_limit_only() -> None:
    endless = Body(*([b"x" * 1000] * 1000))
    assert await beginning(response(endless), 2500) == b"x" * 2500
    assert endless.sent == 3000
    assert await beginning(response(Body(BOMB), "gzip"), 1000) == b"\0" * 1000


@pytest.mark.parametrize(
    "broken",
    [
        response(Body(b"no gzip at all"), "gzip"),
        response(Body(b"part", error=httpx.RemoteProtocolError("closed"))),
        response(Body(b"part", error=httpx.ReadError("reset"))),
    ],
)
async def test_the_body_of_an_error_may_be_broken(broken: httpx.Response) -> None:
    assert await excerpt(broken) == ""


async def test_an_excerpt_is_one_printable_line() -> None:
    assert await excerpt(response(Body(b"a\r\n\tb \x1b[31m \xff c\0"))) == "a b \ufffd[31m \ufffd c\ufffd"
