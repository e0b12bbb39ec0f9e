"""A view of Odoo asks the real bridge how its pictures stand."""

import time
from collections import Counter

import httpx
import pytest
from bridge_thread import running_bridge

from scrape import read
from stage import REQUESTS

MODEL = "aigen.image.request"
TILES, SECONDS = 24, 120


@pytest.fixture
def bridge(database_url, real_odoo, configure):
    with running_bridge(database_url, real_odoo, flux_seconds=120) as bridge:
        configure(bridge.url)
        yield bridge


def calls(bridge):
    """How often requests were read at the bridge, by route."""
    told = Counter()
    for (name, labels), times in read(httpx.get(f"{bridge.url}/metrics").text).samples.items():
        if name == "aigen_http_requests_total" and ("method", "GET") in labels:
            told[dict(labels)["route"]] += int(times)
    return Counter({route: times for route, times in told.items() if route.startswith(REQUESTS)})


def test_twenty_four_open_tiles_cost_the_bridge_one_request_and_show_their_progress(bridge, real_odoo):
    def ann(method, *args):
        return real_odoo.as_person("ann", MODEL, method, *args)

    [model] = real_odoo.as_person("ann", "aigen.image.model", "search", [], 0, 1)
    tiles = ann("create", [{"prompt": f"Tile {number}", "model_id": model} for number in range(TILES)])
    ann("action_generate", tiles)
    deadline = time.monotonic() + SECONDS
    while not all(tile["progress"] for tile in ann("read", tiles, ["progress"])):
        assert time.monotonic() < deadline, f"not every tile had progress after {SECONDS} s"
        ann("action_follow", tiles)
    before = calls(bridge)
    assert ann("action_follow", tiles) is True
    assert calls(bridge) - before == {REQUESTS: 1}
    assert {tile["status"] for tile in ann("read", tiles, ["status"])} == {"dispatched"}
    assert {tile["provider"] for tile in ann("read", tiles, ["provider"])} == {"fal"}
