"""Google and Azure where their answers differ from those of S3, played by servers on this machine."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import obstore
import pytest
from pydantic import SecretStr

from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_place import Credentials, Place
from aigen_bridge.domain.errors import ImageStoreAwayError
from raw_server import answering, http

KEYS = ["ab/first", "ab/second"]


def google(url: str) -> ObjectStore:
    """A bucket at this address."""
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return ObjectStore(Place("gs://aigen-images", url), Credentials(key=SecretStr(json.dumps(account))))


def azure(url: str, **more: Any) -> ObjectStore:
    """A container of an account at this address."""
    return ObjectStore(Place("az://aigen-images", url, **more), Credentials(SecretStr("account"), SecretStr("a2V5")))


def error(code: str) -> bytes:
    """The answer of both about something that does not exist."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>None.</Message></Error>'
    return http("404 Not Found", body.encode(), "Content-Type: application/xml\r\n")


def batch(statuses: Sequence[str]) -> bytes:
    """Azure's answer to a call that deletes several objects."""
    part = "--b\r\nContent-Type: application/http\r\nContent-ID: {}\r\n\r\nHTTP/1.1 {}\r\nx-ms-version: 1\r\n\r\n\r\n"
    body = "".join(part.format(number, status) for number, status in enumerate(statuses)) + "--b--\r\n"
    return http("202 Accepted", body.encode(), "Content-Type: multipart/mixed; boundary=b\r\n")


async def test_google_deletes_the_others_when_an_object_is_missing() -> None:
    async with answering(error("NoSuchKey")) as (url, heard):
        await google(url).delete(KEYS)

    asked = {unquote(call.split()[1].decode()) for call in heard}
    assert asked == {f"/aigen-images/{key}" for key in KEYS}


async def test_azure_deletes_the_others_when_an_object_is_missing() -> None:
    missing, deleted = "404 The specified blob does not exist.", "202 Accepted"
    async with answering(batch([missing, missing]), batch([missing]), batch([deleted])) as (url, heard):
        await azure(url).delete(KEYS)

    assert [sum(f"DELETE /aigen-images/{key} ".encode() in call for call in heard) for key in KEYS] == [2, 2]


async def test_the_timeout_is_for_each_page_of_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large store has a hundred pages in each part that is swept."""

    def pages(*_: Any, **__: Any) -> Iterator[list[dict[str, str]]]:
        for number in range(5):
            time.sleep(0.2)
            yield [{"path": f"ab/{number}"}]

    monkeypatch.setattr(obstore, "list", pages)
    store = azure("http://127.0.0.1:1", timeout=timedelta(seconds=0.4))

    assert len(await store.names("ab/")) == 5


@pytest.mark.parametrize(("store", "code"), [(google, "NoSuchBucket"), (azure, "ContainerNotFound")])
async def test_a_bucket_that_does_not_exist_is_away_and_not_empty(
    store: Callable[[str], ObjectStore], code: str
) -> None:
    async with answering(error(code)) as (url, _):
        with pytest.raises(ImageStoreAwayError) as caught:
            await store(url).get("owner")

    assert code in caught.value.reason
