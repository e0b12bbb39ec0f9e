"""Pictures in a real Odoo are marked as made by AI, also those from before marking was switched on."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from bridge_thread import running_bridge

from aigen_bridge.clients.credentials import validate
from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.marking import Marking
from real_odoo import DATABASE
from stage import sqlalchemy_url

MODEL = "aigen.image.request"
FIELDS = ["status", "mark", "attachment_id", "image_sha256", "original_sha256", "finished_at", "message_ids", "version"]
SECONDS = 60


@pytest.fixture
def signing(tmp_path):
    certificate, key = make_test_certificate(tmp_path / "certificate", datetime.now(UTC))
    return {"marking": {"mode": "c2pa", "certificate": certificate, "key": key}}


def ask(odoo):
    """Ann asks for a picture. Returns its record."""
    [model] = odoo.as_person("ann", "aigen.image.model", "search", [], 0, 1)
    record = odoo.as_person("ann", MODEL, "create", {"prompt": "A marked boat", "model_id": model})
    odoo.as_person("ann", MODEL, "action_generate", [record])
    return record


def wait_until(odoo, record, condition):
    """Waits until the condition holds. Returns the record."""
    deadline = time.monotonic() + SECONDS
    while not condition(read := odoo.as_person("ann", MODEL, "read", [record], FIELDS)[0]):
        assert time.monotonic() < deadline, read
        time.sleep(0.2)
    return read


def download(odoo, attachment):
    """Downloads the file as Ann. Returns its bytes."""
    with httpx.Client(base_url=odoo.url, timeout=60) as ann:
        params = {"db": DATABASE, "login": "ann", "password": "ann"}
        ann.post("/web/session/authenticate", json={"params": params}).raise_for_status()
        return ann.get(f"/web/content/{attachment}", params={"download": "true"}).raise_for_status().content


def mark_stored(database_url):
    """Enqueues stored images as `aigen-bridge marking apply` does. Returns how many."""

    async def apply():
        database = Database(open_engine(sqlalchemy_url(database_url), pool_size=1, name="test"))
        store, since = Marking(database), datetime.now(UTC) - timedelta(days=1)
        pages = [page async for page in store.unmarked(since, datetime.now(UTC))]
        spacing = {"before": 0, "spacing": timedelta(0), "leaves_signed": False}
        enqueued = [await store.enqueue(page, **spacing) for page in pages]
        await database.close()
        return sum(enqueued)

    with ThreadPoolExecutor(1) as elsewhere:  # after tests with a browser, an event loop runs in this thread
        return elsewhere.submit(asyncio.run, apply()).result()


def test_a_downloaded_picture_is_signed(database_url, real_odoo, configure, signing):
    with running_bridge(database_url, real_odoo, settings=signing) as bridge:
        configure(bridge.url)
        picture = wait_until(real_odoo, ask(real_odoo), lambda read: read["status"] == "completed")
    validation = validate(download(real_odoo, picture["attachment_id"][0]), "png")

    assert picture["mark"] == "bridge_c2pa"
    assert picture["original_sha256"] != picture["image_sha256"]
    assert validation is not None
    assert (validation.valid, validation.says_generated) == (True, True)


def test_a_picture_from_before_marking_is_marked_in_place(database_url, real_odoo, configure, signing):
    with running_bridge(database_url, real_odoo) as bridge:
        configure(bridge.url)
        record = ask(real_odoo)
        before = wait_until(real_odoo, record, lambda read: read["status"] == "completed")
    with running_bridge(database_url, real_odoo, settings=signing) as bridge:
        configure(bridge.url)
        enqueued = mark_stored(database_url)
        after = wait_until(real_odoo, record, lambda read: read["mark"] == "bridge_c2pa")
    validation = validate(download(real_odoo, after["attachment_id"][0]), "png")

    assert (before["mark"], enqueued) == ("unmarked", 1)
    assert validation is not None
    assert validation.valid
    assert after["original_sha256"] == before["image_sha256"] != after["image_sha256"]
    unchanged = ("attachment_id", "finished_at", "message_ids", "status")
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert after["version"] == before["version"] + 1
