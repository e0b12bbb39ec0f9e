"""Makes the pictures of the console for README and docs, by `make pictures`. `make test` does not run it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from console.operator import Operator
from console.planted import MODEL_ID, Words, execute, plant
from stage import Stage

PROMPTS = (
    "A lighthouse above a stormy sea at dusk",
    "A running shoe on wet asphalt, neon light, seen from below",
    "Three friends at a lake in autumn, soft light, film grain",
    "A coffee cup on a wooden table, steam, morning sun",
    "A cyclist on a mountain pass, golden hour",
    "A greenhouse full of ferns, fog, wide angle",
    "A skateboard in mid-air before a concrete wall",
    "A bowl of ramen, top view, studio light",
)
SAMPLE = Words(
    prompt=PROMPTS[0],
    error="The record of the campaign is archived.",
    reason="The campaign was withdrawn",
    model="Watercolor",
    contact="marketing@example.com",
    person="ana@example.com",
    header="n8n",
)
REQUESTS = 60
EARLIER = """
    UPDATE requests SET created_at = requests.created_at - span, updated_at = updated_at - span,
        dispatched_at = dispatched_at - span, completed_at = completed_at - span, delivered_at = delivered_at - span
    FROM (SELECT request_id, row_number() OVER (ORDER BY created_at DESC) ^ 1.8 * interval '48 seconds' AS span
          FROM requests WHERE status = 'completed' AND delivered_at IS NOT NULL) AS moved
    WHERE requests.request_id = moved.request_id RETURNING 1
"""
"""Spreads what was delivered over the day, most of it over the last hours."""
OVER = "DELETE FROM incidents WHERE cause IN ('dispatch_failed', 'workflow_failed') RETURNING 1"
"""Leaves as many incidents as let the rest of the overview be seen."""


async def _delivered(stage: Stage) -> str:
    """Delivers images for all prompts, and returns the newest request."""

    async def one(prompt: str) -> str:
        asked = await stage.ask(prompt=prompt, modelId=MODEL_ID, resolution="768x512", aspectRatio="3:2")
        request_id = str(asked["requestId"])
        await stage.until_delivered(request_id, seconds=100)
        return request_id

    for number in range(0, REQUESTS, len(PROMPTS)):
        await asyncio.gather(*(one(PROMPTS[(number + each) % len(PROMPTS)]) for each in range(len(PROMPTS))))
    await execute(stage, EARLIER)
    await execute(stage, OVER)
    return await one(PROMPTS[0])


async def _switch(stage: Stage, destination: str, action: str) -> None:
    path = f"/api/v1/ops/destinations/{destination}/{action}"
    answer = await stage.api.post(path, json={"reason": "Upgrade to the new version"}, headers=stage.as_client("ops"))
    assert answer.status_code < 300, answer.text


def _picture(operator: Operator, name: str, *, whole: bool = False) -> None:
    """Keeps what fits into the window: most whole pages are too long for a document."""
    operator.page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png", full_page=whole, scale="css")


def test_pictures(
    staging: Callable[..., Stage], visiting: Callable[..., Operator], run: Callable[..., Any], png: bytes
) -> None:
    stage = staging(worker=True)
    run(plant(stage, png, SAMPLE))
    stage.chain.n8n.faults.clear()
    run(_switch(stage, "odoo", "resume"))
    newest = run(_delivered(stage))

    operator = visiting(stage)
    operator.page.set_viewport_size({"width": 1400, "height": 1100})
    _picture(operator, "console-overview", whole=True)
    operator.open(f"/requests/{newest}")
    expect(operator.page.locator("h1")).to_contain_text(newest[:8])
    _picture(operator, "console-request")
    operator.open("/dead-letters")
    _picture(operator, "console-dead-letters")
    run(_switch(stage, "n8n", "pause"))
    by_night = visiting(stage, dark=True)
    by_night.page.set_viewport_size({"width": 1400, "height": 560})
    by_night.open("/destinations")
    _picture(by_night, "console-destinations-dark")
    run(_switch(stage, "n8n", "resume"))
    on_phone = visiting(stage, phone=True)
    _picture(on_phone, "console-phone")
