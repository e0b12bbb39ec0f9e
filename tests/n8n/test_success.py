"""An image, in each of the three ways in which it can be told."""

import pytest

from conftest import Opened

PATHS = {"v2": "/api/v2/", "v1": "/api/v1/", "v1-url": "/api/v1/"}


@pytest.mark.parametrize("style", PATHS)
async def test_an_image_arrives_in_odoo_whatever_the_style(open_theatre: Opened, style: str) -> None:
    theatre = await open_theatre(style)
    asked = await theatre.ask(resolution="1024x768", aspectRatio="4:3", seed=7)
    ended = await theatre.until_delivered(asked["requestId"])

    [callback] = theatre.gate.calls.to("callback")
    record = theatre.odoo.records[asked["requestId"]]
    assert (ended["status"], ended["image"]["width"], ended["image"]["height"]) == ("completed", 1024, 768)
    assert (record.sha256, record.applied) == (ended["image"]["sha256"], 1)
    assert (callback.path[:8], callback.status) == (PATHS[style], 202)
    assert callback.headers["webhook-signature"].startswith("v1,")  # and the bridge takes nothing unsigned here
