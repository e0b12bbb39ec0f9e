"""Odoo as companies run it: two workers, websockets at a port of their own, nginx with TLS before both."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from bridge_thread import running_bridge

from aigen_bridge.sockets import bind
from proxy import Nginx, nginx, odoo_behind_nginx
from real_odoo import RealOdoo, Server

pytest.importorskip("playwright", reason="Playwright is not installed here (make e2e-odoo does that)")

from browser import PICTURE, Person

UNROUTED = "Couldn't bind the websocket"
MEBIBYTE = 2**20
SECONDS = 180


@pytest.fixture(scope="module")
def workers(real_odoo: RealOdoo) -> Iterator[Server]:
    """A second server on the same database: two workers, and the evented process."""
    nginx()
    with bind("127.0.0.1", 0) as http, bind("127.0.0.1", 0) as websocket:
        port, evented = http.getsockname()[1], websocket.getsockname()[1]
    mode = ("--workers=2", "--proxy-mode", f"--gevent-port={evented}")
    server = Server(real_odoo.options, port, real_odoo.version, mode=mode)
    server.start()
    yield server
    server.stop()


@contextmanager
def proxied(workers: Server, folder: Path, *, routed: bool = True) -> Iterator[Nginx]:
    """Runs nginx before these workers. With `routed=False` websockets go where the pages go."""
    evented = int(workers.mode[-1].rpartition("=")[2])
    with odoo_behind_nginx(folder, http_port=workers.port, websocket_port=evented if routed else workers.port) as nginx:
        yield nginx


@pytest.fixture
def bridge(database_url, real_odoo, workers, configure):
    with running_bridge(database_url, replace(real_odoo, url=workers.url), flux_seconds=3) as bridge:
        configure(bridge.url)
        yield bridge


def ask_in_two_tabs(browser, url: str, prompt: str) -> tuple[Person, Person]:
    """A person asks for a picture. Returns the tab with its form, and another one with the gallery."""
    ann = Person.log_in(browser, url, "ann")
    gallery = ann.new_tab()
    gallery.open("ai-images", ".o_aigen_gallery")
    ann.wish(prompt)
    ann.generate()
    return ann, gallery


def test_form_and_toast_reach_the_browser_through_nginx(bridge, workers, browser, tmp_path):
    prompt = "A ferry in the first light"
    with proxied(workers, tmp_path) as nginx:
        ann, elsewhere = ask_in_two_tabs(browser, nginx.url, prompt)
        ann.page.wait_for_selector(PICTURE)
        elsewhere.page.wait_for_selector(f".o_notification:has-text('{prompt}')")
        ann.page.context.close()
    assert ann.errors == []


def test_without_the_route_the_form_still_shows_the_picture_and_nobody_is_notified(bridge, workers, browser, tmp_path):
    before, prompt, started = workers.log.stat().st_size, "A ferry in the fog", time.monotonic()
    with proxied(workers, tmp_path, routed=False) as nginx:
        ann, elsewhere = ask_in_two_tabs(browser, nginx.url, prompt)
        ann.page.wait_for_selector(PICTURE)
        while UNROUTED not in workers.log.read_bytes()[before:].decode():  # the picture may come first
            assert time.monotonic() < started + SECONDS
            ann.page.wait_for_timeout(100)
        assert elsewhere.page.locator(".o_notification").count() == 0
        ann.page.context.close()


def test_a_delivery_of_32_mib_gets_through(workers, tmp_path):
    with proxied(workers, tmp_path) as nginx:
        body = b'{"jsonrpc": "2.0", "method": "call", "params": {"service": "common", "method": "version", "args": []}'
        padded = body + b" " * (43 * MEBIBYTE) + b"}"
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{nginx.url}/jsonrpc", content=padded, headers=headers, verify=nginx.trust, timeout=60)
    assert answer.status_code == 200
    assert "server_version" in answer.json()["result"]
