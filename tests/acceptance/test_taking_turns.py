"""An Odoo that asks for many images at once does not delay the single request of another one."""

import asyncio

from stage import CLIENTS, KEYS, REQUESTS, UNREACHABLE, Stage, make_event, staged, working

MANY, AT_ONCE = 20, 2
NORTH = {"keys": ["key-of-north"], "scopes": ["requests"], "odoo": "north"}


async def ask(stage: Stage, key: str) -> str:
    answer = await stage.api.post(REQUESTS, json=make_event(), headers={"X-API-Key": key})
    return str(answer.json()["requestId"])


async def test_a_single_request_overtakes_the_many_of_another_odoo(database_url: str):
    clients = {**CLIENTS, "north": NORTH}
    async with staged(database_url, clients=clients, odoos={"north": UNREACHABLE["odoo"]}) as stage:
        await asyncio.gather(*(ask(stage, "key-of-north") for _ in range(MANY)))
        single = await ask(stage, KEYS["odoo"])
        n8n = stage.settings.n8n.model_copy(update={"concurrency": AT_ONCE})
        async with working(stage.settings.model_copy(update={"n8n": n8n})):
            await stage.until(single, lambda request: request["status"] != "queued")
        arrived = [call.fields["requestId"] for call in stage.chain.n8n.calls.to("webhook")]
    assert arrived.index(single) < AT_ONCE
