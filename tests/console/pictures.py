"""Makes the pictures of the console for README and docs. `make test` does not run it:

SCREENSHOTS=docs/images .venv/bin/python -m pytest -n 0 tests/console/pictures.py
"""

import asyncio
from collections.abc import Callable
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


async def _delivered(stage: Stage) -> str:
    """Delivers images for all prompts, and returns the newest request."""

    async def one(prompt: str) -> str:
        request_id = str((await stage.ask(prompt=prompt, modelId=MODEL_ID, resolution="768x512"))["requestId"])
        await stage.until_delivered(request_id, seconds=100)
        return request_id

    for number in range(0, REQUESTS, len(PROMPTS)):
        await asyncio.gather(*(one(PROMPTS[(number + each) % len(PROMPTS)]) for each in range(len(PROMPTS))))
    await execute(stage, EARLIER)
    return await one(PROMPTS[0])


def test_pictures(
    staging: Callable[..., Stage], visiting: Callable[..., Operator], run: Callable[..., Any], png: bytes
) -> None:
    stage = staging(worker=True)
    run(plant(stage, png, SAMPLE))
    stage.chain.n8n.faults.clear()
    newest = run(_delivered(stage))

    operator = visiting(stage)
    operator.snap("console-overview")
    operator.open(f"/requests/{newest}")
    expect(operator.page.locator("h1")).to_contain_text(newest[:8])
    operator.snap("console-request")
    operator.open("/dead-letters")
    operator.snap("console-dead-letters")
    by_night = visiting(stage, dark=True)
    by_night.open("/destinations")
    by_night.snap("console-destinations-dark")
    on_phone = visiting(stage, phone=True)
    on_phone.snap("console-phone")
